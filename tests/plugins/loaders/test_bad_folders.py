"""Folders that are no pipelines, are damaged or hostile: one clear message with the path, and nothing is executed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdekit.errors import InputError
from sdekit.models import open_model

Folder = Callable[[str], Path]


@pytest.fixture
def copy(text_pipeline: Folder, tmp_path: Path) -> Path:
    """A copy of Stable Diffusion 1.5 that a test may damage."""
    shutil.copytree(text_pipeline("sd15"), tmp_path / "pipeline")
    return tmp_path / "pipeline"


def change(file: Path, **entries: Any) -> None:
    """Change entries of a JSON file; None removes one."""
    fields = json.loads(file.read_text()) | entries
    file.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


def refused(path: Path, message: str, options: str = "") -> None:
    """Opening raises InputError whose message contains the path of the folder."""
    with pytest.raises(InputError, match=message) as error:
        open_model(f"diffusers:{path}{options}")
    assert str(path) in str(error.value)


def test_not_a_pipeline(tmp_path: Path, text_pipeline: Folder) -> None:
    """The message lists the contents of the folder, and names the folder above if this is one part."""
    (tmp_path / "notes.txt").touch()
    refused(tmp_path, "is not a pipeline of diffusers, model_index.json is missing. It contains notes.txt")
    refused(tmp_path / "notes.txt", "is a file, not a folder of diffusers")
    refused(tmp_path / "none", "no such folder")
    refused(text_pipeline("sd15") / "unet", "it is one part of a pipeline, name the folder that contains it")


def test_a_bare_path_names_the_loader(text_pipeline: Folder) -> None:
    """A folder without LOADER: is answered with it."""
    folder = text_pipeline("sd15")
    with pytest.raises(InputError, match=f"{folder} is not a run folder; did you mean diffusers:{folder}"):
        open_model(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"_class_name": 3}', b"{}"])
def test_damaged_index(content: bytes, copy: Path) -> None:
    """An index that is not a JSON object with a class name is refused."""
    (copy / "model_index.json").write_bytes(content)
    refused(copy, "model_index.json")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"_class_name": "WanPipeline"}, r"WanPipeline, which is not supported. It contains .*unet \(UNet2DCond"),
        ({"_class_name": ["pipeline", "MyPipeline"]}, "a pipeline with code of its own is not opened"),
        (
            {"unet": ["my_unet", "MyUNet"]},
            "'unet' is the class MyUNet of 'my_unet'.*Code from a folder is not exec",
        ),
        ({"unet": ["diffusers", "os.system"]}, "'unet' is a os.system; expected UNet2DConditionModel"),
        ({"vae": ["diffusers", "AsymmetricAutoencoderKL"]}, "'vae' is a Asymm.*; expected AutoencoderKL"),
        ({"tokenizer": [None, None]}, "needs the part 'tokenizer'. The folder has scheduler .PNDMScheduler"),
        ({"text_encoder": "x"}, "needs the part 'text_encoder'"),
    ],
)
def test_parts_of_other_classes(entries: dict[str, Any], message: str, copy: Path) -> None:
    """Only classes of diffusers and transformers that the loader supports are built."""
    change(copy / "model_index.json", **entries)
    (copy / "my_unet.py").write_text("raise SystemExit('executed')")
    refused(copy, message)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_missing_parts(part: str, copy: Path) -> None:
    """A missing subfolder is named."""
    shutil.rmtree(copy / part)
    refused(copy, f"{part}.* is missing")


def test_missing_files(copy: Path) -> None:
    """A missing configuration, tokenizer file or weight file is named."""
    (copy / "tokenizer" / "tokenizer.json").rename(copy / "kept.json")
    refused(copy, "tokenizer is no complete tokenizer, it lacks tokenizer.json or vocab.json and merges.txt")
    (copy / "kept.json").rename(copy / "tokenizer" / "tokenizer.json")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(copy / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert open_model(f"diffusers:{copy}").guesses == {"variant": "fp16"}
    refused(copy, "unet/diffusion_pytorch_model.safetensors is missing", ",variant=bf16")
    (copy / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    torch.save({}, copy / "unet" / "diffusion_pytorch_model.bin")
    refused(copy, "as diffusion_pytorch_model.bin, a format that may run code. Save them as safetensors")
    (copy / "unet" / "config.json").unlink()
    refused(copy, "unet/config.json is missing")


FILES = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


@pytest.mark.parametrize("part", FILES)
@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "cut", "noise"])
def test_weights_that_do_not_fit(part: str, fault: str, copy: Path) -> None:
    """A tensor that is missing, extra or of another shape, and a damaged file, are refused in every part."""
    file = copy / part / f"{FILES[part]}.safetensors"
    tensors = load_file(file)
    name = sorted(tensors)[3]
    if fault == "missing":
        del tensors[name]
    elif fault == "extra":
        tensors["surprise"] = torch.ones(1)
    elif fault == "shape":
        tensors[name] = torch.ones(3, 2, 1)
    save_file(tensors, file, {"format": "pt"})
    if fault == "cut":
        os.truncate(file, file.stat().st_size // 2)
    elif fault == "noise":
        file.write_bytes(bytes(range(256)) * 20)
    words = {"missing": "1 missing .*" + name, "extra": "1 extra .surprise", "shape": "of another shape .*" + name}
    refused(copy, words.get(fault, r"model.safetensors is damaged \("))


def test_shards_stay_in_their_folder(copy: Path) -> None:
    """An index of shards is read, and cannot name a file outside of its folder."""
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    file.unlink()
    names = sorted(tensors)
    half = {f"s-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for shard, members in half.items():
        save_file({name: tensors[name] for name in members}, copy / "unet" / shard)
    index = copy / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: shard for shard, members in half.items() for name in members}}))
    assert open_model(f"diffusers:{copy}").shape == (4, 8, 8)
    (copy / "unet" / min(half)).unlink()
    refused(copy, "s-00001-of-00002.safetensors is missing")
    for bad in ({"weight_map": {"a": "../../secret.safetensors"}}, {"weight_map": {"a": "x.bin"}}, {"weight_map": 3}):
        index.write_text(json.dumps(bad))
        refused(copy, "index.json does not list shards of its folder")


@pytest.mark.parametrize(
    ("file", "entries", "message"),
    [
        ("unet/config.json", {"block_out_channels": "x"}, "unet/config.json does not describe a network"),
        ("unet/config.json", {"in_channels": 9}, "does not fit its configuration|inpainting"),
        ("unet/config.json", {"down_block_types": ["os.system"]}, "does not describe a network"),
        ("vae/config.json", {"scaling_factor": "x"}, "scaling_factor is 'x'"),
        ("scheduler/scheduler_config.json", {"_class_name": "os.system"}, "scheduler 'os.system' has no counterpart"),
        ("scheduler/scheduler_config.json", {"beta_start": -1}, "scheduler_config.json.*positive betas"),
        ("text_encoder/config.json", {"hidden_size": 24}, "text_encoder.* does not fit|cannot be opened"),
    ],
)
def test_damaged_configurations(file: str, entries: dict[str, Any], message: str, copy: Path) -> None:
    """A configuration that does not describe its part is refused with its path."""
    change(copy / file, **entries)
    refused(copy, message)


def test_no_code_runs(copy: Path) -> None:
    """Modules in the folder, auto_map entries and pickles are not executed."""
    for name in ("unet/my.py", "my.py", "tokenizer/my.py", "text_encoder/my.py"):
        (copy / name).write_text("raise SystemExit('executed')")
    for name in ("unet/config.json", "text_encoder/config.json", "tokenizer/tokenizer_config.json"):
        change(copy / name, auto_map={"AutoModel": "my.Model", "AutoTokenizer": ["my.T", "my.T"], "AutoConfig": "my.C"})
    assert open_model(f"diffusers:{copy}").shape == (4, 8, 8)


@pytest.mark.parametrize("package", ["diffusers", "transformers"])
def test_a_missing_extra(package: str, text_pipeline: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages of the extra, the message contains the pip command."""
    folder = text_pipeline("sd15")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs the package {package} .*: pip install 'sdekit\[diffusers\]'"):
        open_model(f"diffusers:{folder}")
