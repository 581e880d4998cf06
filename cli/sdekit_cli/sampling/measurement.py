"""A measurement, from a file or made of a clean sample, in the data's units and in the model's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdekit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.inverse.operators import Operator
    from sdekit.runs import Recipe

FAR = 1e3
"""What is so many times larger than the data is in other units: pictures of 0 to 255 of data from 0 to 1 are not."""
IMAGES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Measured:
    """operator: on samples in the data's units. y: (*measured) in these units. clean: (*shape), where it is known."""

    operator: Operator
    y: Tensor
    clean: Tensor | None


def read_numbers(path: Path, recipe: Recipe, what: str) -> np.ndarray:
    """An array as it is; an image's pixels mapped from black and white to the range of the data."""
    from sdekit.inverse.operators import read_array

    numbers = read_array(path, what)
    if path.suffix.lower() not in IMAGES:
        return numbers
    low, high = recipe.units.low, recipe.units.high
    if low is None or high is None:
        raise InputError(
            f"{what} {path}: an image says how bright, and the data of this run have no black and white: give a .npy "
            "file in the data's units"
        )
    return low + numbers / 255 * (high - low)


def read_sample(path: Path, recipe: Recipe, what: str) -> Tensor:
    """One sample (*shape) in the data's units, channels first; InputError for another size, with both."""
    import torch

    found = torch.from_numpy(read_numbers(path, recipe, what))
    shape = recipe.shape
    if len(shape) == 3 and tuple(found.shape) != shape:
        if found.ndim == 3 and tuple(found.movedim(-1, 0).shape) == shape:
            found = found.movedim(-1, 0)
        elif found.ndim == 2 and tuple(found.shape) == shape[1:]:
            found = found.expand(shape)
        elif found.ndim == 3 and shape[0] == 1 and tuple(found.shape) == (*shape[1:], 3):
            found = (found @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64))[None]
    if tuple(found.shape) != shape:
        raise InputError(f"{what} {path}: has shape {tuple(found.shape)}, and a sample of this run {shape}")
    _check_reach(found, _spread(recipe, 1), f"{what} {path}", "the data of this run reach")
    return found.contiguous()


def measure(
    recipe: Recipe, name: str, options: dict[str, Any], measurement: Path | None, clean: Path | None, noise_std: float
) -> Measured:
    """The measurement in a file, or A(clean) plus noise of that standard deviation (seed 0)."""
    import torch

    from sdekit.inverse.operators import measured_from
    from sdekit.registry import build

    operator: Operator = build("operator", name, recipe.shape, **options)
    if measurement is not None:
        array = read_numbers(measurement, recipe, "--measurement")
        y = measured_from(array, operator, recipe.units, f"--measurement {measurement}")
        usual = operator.apply(_spread(recipe, 8)).abs() + noise_std
        _check_reach(y, usual, f"--measurement {measurement}", f"what {name} makes of this run's data reaches")
        return Measured(operator, y, None)
    assert clean is not None
    x = read_sample(clean, recipe, "--degrade")
    y = operator.apply(x[None])[0]
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Measured(operator, operator.check(y + noise_std * noise), x)


def _spread(recipe: Recipe, n: int) -> Tensor:
    """(n, *shape) numbers about as large as the data, in the data's units, float64."""
    import torch

    x = torch.randn(n, *recipe.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return in_data_units(3 * x, recipe)


def _check_reach(numbers: Tensor, usual: Tensor, where: str, what: str) -> None:
    """InputError for numbers that are far too large to be in the units that they should be in."""
    reach, most = float(numbers.abs().max()), float(usual.abs().max())
    if reach > FAR * most > 0:
        raise InputError(f"{where}: holds {reach:.3g}, and {what} about {most:.3g}: give it in the data's units")


def in_data_units(x: Tensor, recipe: Recipe) -> Tensor:
    """Samples (B, *shape) in the model's units to the data's, channels first, float64, on the CPU."""
    import torch

    shift, scale = (torch.as_tensor(np.asarray(v)) for v in (recipe.units.shift, recipe.units.scale))
    return x.detach().double().cpu() * scale + shift


def as_images(x: Tensor, recipe: Recipe) -> np.ndarray | None:
    """(B, C, h, w) in the data's units to pixels (B, h, w, 1 or 3); None for what is no image."""
    low, high = recipe.units.low, recipe.units.high
    if recipe.kind != "image" or x.ndim != 4 or x.shape[1] not in (1, 3):
        return None
    low = float(x.min()) if low is None else low
    high = float(x.max()) if high is None else high
    pixels = ((x - low) / ((high - low) or 1.0)).clamp(0, 1).mul(255).round().numpy().astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def before_after(columns: list[np.ndarray]) -> np.ndarray:
    """Pictures (h, w, c) of any sizes side by side as (n, H, W, 3), the smaller ones enlarged to the largest."""
    from PIL import Image

    height = max(c.shape[0] for c in columns)
    width = max(c.shape[1] for c in columns)

    def fitted(c: np.ndarray) -> np.ndarray:
        rgb = np.repeat(c, 3, 2) if c.shape[2] == 1 else c
        return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.NEAREST))

    return np.stack([fitted(c) for c in columns])
