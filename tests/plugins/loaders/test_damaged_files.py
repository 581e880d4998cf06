"""Damaged and hostile files: each is refused by an error that names it, and nothing in it is executed."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sdekit import verify
from sdekit.errors import InputError
from sdekit.models import open_model

LOADERS = ("bare", "k-diffusion", "lucidrains")
STORED: dict[str, Any] = json.loads(Path(__file__).with_name("original_denoisers.json").read_text("utf-8"))


class Payload:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def safetensors_bytes(header: Mapping[str, Any], data: bytes = b"") -> bytes:
    """Return a safetensors file with any header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def save_truncated(path: Path, suffix: str) -> None:
    """Save tensors, and remove the second half of the file."""
    if suffix == "pt":
        torch.save({"w": torch.ones(100)}, path)
    else:
        save_file({"w": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FILES: dict[str, Callable[[Path, Path], object]] = {
    "empty": lambda path, marker: path.write_bytes(b""),
    "noise": lambda path, marker: path.write_bytes(bytes(range(256)) * 9),
    "text": lambda path, marker: path.write_text("weights\n" * 9),
    "a web page": lambda path, marker: path.write_text("<!doctype html><title>404</title>"),
    "a pointer of Git LFS": lambda path, marker: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
    "truncated torch": lambda path, marker: save_truncated(path, "pt"),
    "truncated safetensors": lambda path, marker: save_truncated(path, "safetensors"),
    "a header that is too long": lambda path, marker: path.write_bytes(struct.pack("<Q", 2**62) + b"{}"),
    "a header without data": lambda path, marker: path.write_bytes(
        safetensors_bytes({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    ),
    "an unknown dtype": lambda path, marker: path.write_bytes(
        safetensors_bytes({"w": {"dtype": "F3", "shape": [1], "data_offsets": [0, 4]}}, b"0000")
    ),
    "a pickle with code": lambda path, marker: path.write_bytes(pickle.dumps(Payload(marker))),
    "a torch file with code": lambda path, marker: torch.save({"model": Payload(marker)}, path),
    "an array with code": lambda path, marker: np.save(path.open("wb"), np.array([Payload(marker)], dtype=object)),
    "a list": lambda path, marker: torch.save([torch.ones(2)], path),
    "a tensor": lambda path, marker: torch.save(torch.ones(2), path),
    "nothing": lambda path, marker: torch.save({}, path),
    "numbers": lambda path, marker: torch.save({"a": 1, "b": 2.0}, path),
    "numbers as names": lambda path, marker: torch.save({0: torch.ones(2)}, path),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("loader", LOADERS)
def test_files(loader: str, name: str, tmp_path: Path) -> None:
    """Whatever a file contains, the error names it and is short, and no code runs."""
    path, marker = tmp_path / "weights.pt", tmp_path / "executed"
    FILES[name](path, marker)
    with pytest.raises(InputError) as error:
        open_model(f"{loader}:{path},shape=[4],network=mlp" if loader == "bare" else f"{loader}:{path}")
    assert str(path) in str(error.value) and len(str(error.value)) < 500 and not marker.exists()


@pytest.mark.parametrize("loader", LOADERS)
def test_loaders_conform(loader: str) -> None:
    """Loaders pass the checks of `sdekit verify`."""
    verify.verify(loader, kind="loader").raise_on_failure()


def checkpoint(**changes: Any) -> dict[str, Any]:
    """Return a small diffusion of denoising-diffusion-pytorch, with changed tensors; None removes one."""
    case = STORED["lucidrains"]["eps"]
    tensors: dict[str, Any] = {name: torch.tensor(case[name]) for name in ("betas", "loss_weight")}
    tensors |= {f"model.{name}": torch.zeros(shape) for name, shape in case["shapes"].items()}
    return {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}


def old(**changes: Any) -> dict[str, Any]:
    """Return a diffusion of a version without memory in the attention."""
    return {name: tensor for name, tensor in checkpoint(**changes).items() if "mem_kv" not in name}


LUCIDRAINS: list[tuple[dict[str, Any], str, str]] = [
    (checkpoint(), "", "does not contain the size of the images: add it, such as lucidrains:"),
    (checkpoint(), ",size=9", "size 9: this model makes images in multiples of 2 pixels"),
    (checkpoint(), ",size=0", "size '0': write WIDTHxHEIGHT"),
    (checkpoint(betas=None), ",size=8", "a tensor is missing: betas"),
    (checkpoint(betas=torch.zeros(100)), ",size=8,prediction=eps", "each between 0 and 1"),
    (checkpoint(betas=torch.ones(2, 2)), ",size=8", r"table of betas has the shape \(2, 2\)|expected one row"),
    (checkpoint(loss_weight=None), ",size=8", "do not determine the prediction .* add prediction=eps"),
    (checkpoint(loss_weight=torch.rand(100)), ",size=8", "do not determine the prediction"),
    (old(), ",size=8", "a tensor is missing: model.downs.0.2.mem_kv. Checkpoints of versions without"),
    (checkpoint(**{"model.classes_emb.weight": torch.ones(10, 8)}), ",size=8", "extra .classes_emb.weight"),
    (checkpoint(**{"model.init_conv.bias": None}), ",size=8", "missing .init_conv.bias"),
    (checkpoint(**{"model.init_conv.bias": torch.zeros(9)}), ",size=8", "of another shape .init_conv.bias 9, not 8"),
    (checkpoint(**{"model.init_conv.weight": torch.zeros(8)}), ",size=8", "init_conv.weight has the shape"),
    (checkpoint(**{"model.init_conv.bias": torch.full((8,), torch.nan)}), ",size=8", "init_conv.bias .*not finite"),
    (checkpoint(surprise=torch.zeros(2)), ",size=8", "does not belong to this diffusion: surprise"),
    ({"model": checkpoint(), "ema": {"ema_model.betas": 3}}, ",size=8", "'ema' is not a state dict: 'betas' is a int"),
]


@pytest.mark.parametrize(("content", "options", "message"), LUCIDRAINS, ids=[message for *_, message in LUCIDRAINS])
def test_lucidrains(content: dict[str, Any], options: str, message: str, tmp_path: Path) -> None:
    """The message names the file and the tensor."""
    torch.save(content, tmp_path / "model-1.pt")
    with pytest.raises(InputError, match=message) as error:
        open_model(f"lucidrains:{tmp_path}/model-1.pt{options}")
    assert str(tmp_path / "model-1.pt") in str(error.value)


def configuration(**changes: Any) -> str:
    """Return a configuration of k-diffusion with changed entries of its section `model`; None removes one."""
    sizes = {name: value for name, value in STORED["k-diffusion"]["plain"].items() if name not in ("shapes", "x0")}
    model = {"type": "image_v1", "input_size": [8, 8], "sigma_min": 0.01, "sigma_max": 80, **sizes, **changes}
    return json.dumps({"model": {name: value for name, value in model.items() if value is not None}})


K_DIFFUSION: list[tuple[str | None, str]] = [
    (None, "contains no configuration, and there is no .*config.json: name it by config=FILE"),
    ("{", "the configuration is not valid JSON"),
    ("[1]", "the configuration has no section 'model'"),
    (configuration(type="image_transformer_v2"), "'image_transformer_v2', and only 'image_v1' can be opened"),
    (configuration(depths=None), "has no entry 'depths'"),
    (configuration(depths="one"), "another type than expected"),
    (configuration(depths=[1]), "need the same length"),
    (configuration(mapping_out=7), "an even mapping_out"),
    (configuration(input_size=[9, 9]), "input_size 9 x 9 is not a multiple of 2"),
    (configuration(input_size=8), "another type than expected"),
    (configuration(cross_cond_dim=768), "cross_cond_dim = 768: networks with this condition"),
    (configuration(sigma_min=100), "needs 0 < sigma_min < sigma_max"),
    (configuration(sigma_data=0), "sigma_data must be positive"),
    (configuration(channels=[32, 80]), "of another shape|cannot be divided"),
    (configuration(channels=[32, 128]), "of another shape"),
    (configuration(augment_wrapper=False), "extra .mapping_cond.weight"),
    (configuration(self_attn_depths=[1, 1]), "missing"),
]


@pytest.mark.parametrize(("config", "message"), K_DIFFUSION, ids=[message for _, message in K_DIFFUSION])
def test_k_diffusion(config: str | None, message: str, tmp_path: Path) -> None:
    """The message names the file or its configuration."""
    tensors: dict[str, Tensor] = {n: torch.zeros(s) for n, s in STORED["k-diffusion"]["plain"]["shapes"].items()}
    save_file(tensors, tmp_path / "net.safetensors")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(InputError, match=message) as error:
        open_model(f"k-diffusion:{tmp_path}/net.safetensors")
    assert str(tmp_path) in str(error.value)
