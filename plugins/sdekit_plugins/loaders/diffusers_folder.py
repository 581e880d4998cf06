"""A folder of a diffusers pipeline: its index, the classes of its parts and the files of their weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sdekit.errors import InputError

from .extras import require_package
from .strict_weights import opened

INDEX = "model_index.json"
CONFIGS = ("config.json", "scheduler_config.json")
LIBRARIES = ("diffusers", "transformers")
"""Packages whose classes a part may have. A part of any other class would run code from the folder."""
STEMS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
"""Names of the weight files, without their suffix, by library."""


@dataclass(frozen=True)
class PipelineFolder:
    """A folder of a pipeline. Reading it executes no code from it.

    Arguments:
        path: The folder.
        index: Contents of model_index.json.
        variant: Variant of the weight files, such as "fp16", or empty.
        guesses: Facts that were assumed while reading, by name.
    Raises:
        InputError: If the index is missing or damaged, or the pipeline or one of its parts has code of its own.
    """

    path: Path
    index: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    guesses: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, variant: str = "") -> PipelineFolder:
        """Read the index of a folder."""
        if not path.is_dir():
            raise InputError(f"{path}: {'is a file, not a folder of diffusers' if path.exists() else 'no such folder'}")
        if not (path / INDEX).is_file():
            content = ", ".join(sorted(file.name for file in path.iterdir())[:12]) or "nothing"
            parts = [name for name in CONFIGS if (path / name).is_file()]
            hint = ": it is one part of a pipeline, name the folder that contains it" if parts else ""
            raise InputError(f"{path} is not a pipeline of diffusers, {INDEX} is missing{hint}. It contains {content}")
        index = read_json(path / INDEX)
        if not isinstance(index.get("_class_name"), str):
            raise InputError(
                f"{path / INDEX}: _class_name is {index.get('_class_name')!r}: a pipeline with code of its own is not "
                "opened"
            )
        return cls(path, index, variant)

    @property
    def pipeline(self) -> str:
        """Class name of the pipeline."""
        return str(self.index["_class_name"])

    @property
    def parts(self) -> dict[str, str]:
        """Class names of all parts that the folder has, by name."""
        entries = {name: entry for name, entry in self.index.items() if isinstance(entry, list)}
        return {n: str(e[1]) for n, e in entries.items() if len(e) == 2 and e[1] is not None}

    @property
    def contents(self) -> str:
        """Names and classes of all parts, for messages."""
        return ", ".join(f"{name} ({kind})" for name, kind in self.parts.items()) or "no parts"

    def has(self, name: str) -> bool:
        """Return whether the pipeline has a part."""
        return name in self.parts

    def part(self, name: str, *allowed: str) -> type:
        """Return the class of a part.

        Arguments:
            name: Name of the part.
            allowed: Class names that the caller supports.
        Returns:
            The class in diffusers or transformers.
        Raises:
            InputError: If the part or its folder is missing, or its class is not supported.
        """
        entry = self.index.get(name)
        if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(word, str) for word in entry)):
            raise InputError(f"{self.path}: {self.pipeline} needs the part {name!r}. The folder has {self.contents}")
        library, class_name = entry
        if library not in LIBRARIES:
            raise InputError(
                f"{self.path}: {name!r} is the class {class_name} of {library!r}, which is neither diffusers nor "
                "transformers. Code from a folder is not executed"
            )
        if class_name not in allowed:
            raise InputError(f"{self.path}: {name!r} is a {class_name}; expected {' or '.join(allowed)}")
        if not (self.path / name).is_dir():
            raise InputError(f"{self.path / name} is missing, and {INDEX} names it: download the folder again")
        module = require_package(library, "diffusers", str(self.path))
        found = getattr(module, class_name, None)
        if found is None:
            version = getattr(module, "__version__", "?")
            raise InputError(f"{self.path}: {library} {version} has no class {class_name}: upgrade it")
        return found  # type: ignore[no-any-return]

    def config(self, name: str, file: str = "config.json") -> dict[str, Any]:
        """Return the configuration of a part.

        Arguments:
            name: Name of the part.
            file: Name of its configuration file.
        Returns:
            Contents of the file.
        """
        return read_json(self.path / name / file)

    def weights(self, name: str) -> list[Path]:
        """Return the weight files of a part, one or several shards.

        Arguments:
            name: Name of the part.
        Returns:
            Paths of safetensors files.
        Raises:
            InputError: If there are none, or the index of the shards is damaged.
        """
        folder, stem = self.path / name, STEMS[self.index[name][0]]
        variants = [self.variant] if self.variant else ["", *self._variants(folder, stem)]
        for variant in variants:
            dotted = f".{variant}" if variant else ""
            single, shards = folder / f"{stem}{dotted}.safetensors", folder / f"{stem}.safetensors.index{dotted}.json"
            if not (single.is_file() or shards.is_file()):
                continue
            if variant != self.variant:
                self.guesses["variant"] = variant
            return [single] if single.is_file() else _shards(shards)
        others = sorted(file.name for file in folder.glob("*") if file.suffix in (".bin", ".pt", ".ckpt", ".msgpack"))
        if others:
            raise InputError(
                f"{folder} has its weights as {others[0]}, a format that may run code. Save them as safetensors: "
                "pipeline.save_pretrained(FOLDER, safe_serialization=True)"
            )
        raise InputError(f"{folder / (stem + '.safetensors')} is missing: download the folder again")

    def memory(self, dtype: torch.dtype | None) -> dict[str, int]:
        """Return the memory that the weights of each part need, from the sizes of their files.

        Arguments:
            dtype: Dtype of the weights in memory, or None for that of the files.
        Returns:
            Bytes by the name of the part.
        """
        needed = {}
        for name in self.parts:
            with suppress(InputError):  # a part that cannot be read is reported when it is opened
                if self.index[name][0] in STEMS and (self.path / name / "config.json").is_file():
                    files = self.weights(name)
                    wanted = torch.float32 if self.config(name).get("force_upcast") else dtype
                    needed[name] = int(sum(file.stat().st_size for file in files) * _growth(files[0], wanted))
        return needed

    @staticmethod
    def _variants(folder: Path, stem: str) -> list[str]:
        """Return the variants of which weights exist."""
        names = [file.name.removeprefix(f"{stem}.") for file in folder.glob(f"{stem}.*")]
        found = {n.removesuffix(".safetensors") for n in names if n.endswith(".safetensors") and "-of-" not in n}
        found |= {n.removeprefix("safetensors.index.").removesuffix(".json") for n in names if n.startswith("safe")}
        return sorted(found - {"", "safetensors", "safetensors.index"})


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Arguments:
        path: The file.
    Returns:
        Its entries.
    Raises:
        InputError: If the file is missing, is not JSON, or contains something else than an object.
    """
    try:
        fields = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: download the folder again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path} contains {type(fields).__name__}, expected a JSON object")
    return fields


def _growth(file: Path, dtype: torch.dtype | None) -> float:
    """Return the size of a weight in memory as a multiple of its size in a file, judged by the first tensor."""
    if dtype is None:
        return 1.0
    with opened(file) as tensors:
        stored = tensors.get_slice(next(iter(tensors.keys()))).get_dtype()
    return dtype.itemsize / {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(stored, dtype.itemsize)


def _shards(index: Path) -> list[Path]:
    """Return the shards that an index names, in its own folder only."""
    entries = read_json(index).get("weight_map")
    names: Sequence[str] = sorted(set(map(str, entries.values()))) if isinstance(entries, dict) else []
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise InputError(f"{index} does not list shards of its folder: download it again")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise InputError(f"{index.parent / missing[0]} is missing: download the folder again")
    return [index.parent / name for name in names]
