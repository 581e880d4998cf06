"""Tensors and JSON on disk: written whole or not at all, and certified by a checksum of their own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError

REMEDY = "Restore it from a copy, or train again"


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name beside `path`, flush to the disk, then rename: the old file stays good until then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise SdekitError(
            f"could not save {path}: {error.strerror or error}. The file that was there before is untouched"
        ) from error


def save_json(path: Path, fields: Mapping[str, Any]) -> None:
    """A JSON object with the SHA-256 of its other fields as "sha256"."""
    fields = {**fields, "sha256": _json_digest(fields)}
    write_atomically(path, (json.dumps(fields, indent=2) + "\n").encode())


def load_json(path: Path) -> dict[str, Any]:
    """Read what `save_json` wrote; InputError naming a missing, truncated or altered file."""
    try:
        fields = json.loads(path.read_bytes())
        expected = fields.pop("sha256")
    except FileNotFoundError:
        raise InputError(f"{path} is missing. {REMEDY}") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged or truncated ({type(error).__name__}: {error}). {REMEDY}") from error
    if expected != _json_digest(fields):
        raise InputError(_altered(path, expected, _json_digest(fields)))
    loaded: dict[str, Any] = fields
    return loaded


def save_tensors(path: Path, tensors: Mapping[str, Tensor], fields: Mapping[str, Any] | None = None) -> None:
    """A safetensors file; `fields` (JSON) and the SHA-256 of it all lie in its header."""
    from safetensors.torch import save

    held, places = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        if (place := whole.untyped_storage().data_ptr()) in places:
            whole = whole.clone()  # safetensors takes no two that share memory
        held[name] = whole
        places.add(place)
    record = json.dumps(dict(fields or {}))
    write_atomically(path, save(held, {"fields": record, "sha256": _tensor_digest(held, record)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and fields that `save_tensors` wrote; InputError naming a missing, truncated or altered file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise InputError(f"{path} is missing. {REMEDY}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated ({error}). {REMEDY}") from error
    record, expected = metadata.get("fields", "{}"), metadata.get("sha256", "none")
    found = _tensor_digest(tensors, record)
    if found != expected:
        raise InputError(_altered(path, expected, found))
    try:
        fields = json.loads(record)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its fields cannot be read ({error}). {REMEDY}") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path}: its fields are {record[:60]}; expected a table. {REMEDY}")
    return tensors, fields


def step_of(path: Path, fields: Mapping[str, Any]) -> int:
    """The step that a file's fields tell; InputError where they tell none."""
    step = fields.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise InputError(f"{path}: its step is {step!r}; expected a whole number. {REMEDY}")
    return step


def check_recipe(path: Path, fields: Mapping[str, Any], digest: str) -> None:
    """InputError where weights were trained by another recipe than this; older files do not say by which."""
    if fields.get("recipe", digest) != digest:
        raise InputError(
            f"{path} does not belong to the config.json of its run: these weights were trained with another process, "
            f"network, condition or units. {REMEDY}"
        )


def _altered(path: Path, expected: str, found: str) -> str:
    return f"{path} was altered: its checksum is {found[:16]}, recorded is {expected[:16]}. {REMEDY}"


def _json_digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _tensor_digest(tensors: Mapping[str, Tensor], record: str) -> str:
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
