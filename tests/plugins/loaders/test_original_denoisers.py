"""The loaders `lucidrains` and `k-diffusion` give the denoised images of the original code.

`original_denoisers.json` was written by `benchmarks/pretrained_numbers.py`, in an environment with both packages.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import OpenedModel, open_model

FILE: dict[str, Any] = json.loads(Path(__file__).with_name("original_denoisers.json").read_text("utf-8"))
SIZE: int = FILE["size"]


def weights(shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """Return the weights of the stored networks: normal numbers that follow from names and shapes."""
    tensors = {}
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    for name, shape in shapes.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        fan_in = max(torch.Size(shape[1:]).numel(), 1)
        tensors[name] = torch.randn(shape, generator=generator) / fan_in**0.5
        if name.endswith("kernel"):
            tensors[name] = taps[:, None] * taps * (4 if "u_blocks" in name else 1)
    return tensors


def denoised(opened: OpenedModel, times: list[float]) -> list[Tensor]:
    """Return the denoised images of waves at some times, one row of numbers for each."""
    place = torch.arange(2 * opened.shape[0] * SIZE**2, dtype=torch.float64)
    x = (1.5 * torch.sin(0.37 * place**1.1)).float().view(2, *opened.shape)
    with torch.no_grad():
        return [opened.model(x, torch.tensor(t, dtype=torch.float64)).flatten() for t in times]


def compare(opened: OpenedModel, times: list[float], expected: list[list[float]]) -> None:
    """Compare denoised images at some times, relative to their size."""
    for x0, row in zip(denoised(opened, times), expected, strict=True):
        theirs = torch.tensor(row)
        assert float((x0 - theirs).abs().max() / theirs.abs().max()) < 1e-4


def save_lucidrains(folder: Path, case: Mapping[str, Any], **changes: Any) -> Path:
    """Save a checkpoint as the trainer does; the averaged weights are the stored ones, and the last ones are zero."""
    diffusion = {name: torch.tensor(case[name]) for name in ("betas", "loss_weight")}
    diffusion["alphas_cumprod"] = (1 - diffusion["betas"]).cumprod(0)
    network = {f"model.{name}": tensor for name, tensor in weights(case["shapes"]).items()}
    last = diffusion | {name: torch.zeros_like(tensor) for name, tensor in network.items()}
    average = {f"ema_model.{name}": tensor for name, tensor in (diffusion | network).items()}
    ema = {"initted": torch.tensor(True), "step": torch.tensor(9), **average}
    content = {"step": 7, "model": last, "opt": {"state": {}}, "ema": ema, "scaler": None, "version": "2.1.1"}
    torch.save(content | changes, folder / "model-1.pt")
    return folder / "model-1.pt"


@pytest.mark.parametrize("name", FILE["lucidrains"])
def test_lucidrains(name: str, tmp_path: Path) -> None:
    """Widths, table and prediction follow from the file; D equals the original's unclipped x_0."""
    case = FILE["lucidrains"][name]
    path = save_lucidrains(tmp_path, case)
    opened = open_model(f"lucidrains:{path},size={SIZE}")
    assert opened.model.prediction == name and opened.step == 7 and opened.facts["weights"] == "average (ema)"
    assert opened.shape == (case["unet"].get("channels", 3), SIZE, SIZE) and opened.data_range == (-1, 1)
    compare(opened, [(index + 1) / len(case["betas"]) for index in FILE["indices"]], case["x0"])
    last = open_model(f"lucidrains:{path},size={2 * SIZE}x{SIZE},ema=false")
    assert last.shape[1:] == (SIZE, 2 * SIZE) and not any(bool(p.any()) for p in last.model.parameters())
    with pytest.raises(InputError, match=f"did you mean lucidrains:{path}"):
        open_model(path)


def save_k_diffusion(folder: Path, case: Mapping[str, Any], *, inside: bool = False, **changes: Any) -> Path:
    """Save a network and its configuration, inside of the file or beside it."""
    names = ("shapes", "x0")
    model = {"type": "image_v1", "input_size": [SIZE, SIZE], "sigma_min": 0.01, "sigma_max": 80}
    config = json.dumps({"model": model | {k: v for k, v in case.items() if k not in names} | changes})
    if not inside:
        (folder / "config.json").write_text(config)
    save_file(weights(case["shapes"]), folder / "net.safetensors", {"config": config} if inside else None)
    return folder / "net.safetensors"


@pytest.mark.parametrize("name", FILE["k-diffusion"])
def test_k_diffusion(name: str, tmp_path: Path) -> None:
    """D equals the original's, with the configuration beside the file, inside of it, or in a checkpoint."""
    case = FILE["k-diffusion"][name]
    (tmp_path / "inside").mkdir()
    path = save_k_diffusion(tmp_path, case)
    opened = open_model(f"k-diffusion:{path}")
    assert opened.shape == (case["input_channels"], SIZE, SIZE) and opened.data_std == case.get("sigma_data", 1.0)
    compare(opened, FILE["sigmas"], case["x0"])
    compare(
        open_model(f"k-diffusion:{save_k_diffusion(tmp_path / 'inside', case, inside=True)}"), [1.0], case["x0"][1:2]
    )
    config = json.loads((tmp_path / "config.json").read_text())
    averaged = {f"inner_model.{name}" if case.get("augment_wrapper", True) else name: tensor
                for name, tensor in weights(case["shapes"]).items()}  # fmt: skip
    torch.save({"config": config, "model_ema": averaged, "model": {}, "step": 3}, tmp_path / "inside" / "c.pth")
    compare(open_model(f"k-diffusion:{tmp_path / 'inside' / 'c.pth'}"), [1.0], case["x0"][1:2])
    with pytest.raises(InputError, match=f"did you mean k-diffusion:{path}"):
        open_model(path)
