"""Threshold: limit the denoised x_0 to the range of the data, and rescale saturated samples into it."""

import math
from typing import Any

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.guidance import require_data_range
from sdekit.processes import SDE, Denoiser, broadcast, evaluate_denoiser


def threshold(
    sde: SDE,
    denoise: Denoiser,
    *,
    quantile: float = 0.995,
    low: float | None = None,
    high: float | None = None,
    largest: float = math.inf,
) -> Denoiser:
    """Dynamic thresholding: clip the denoised x_0 at a quantile of each sample, and divide by it.

    Let [low, high] = [center - half, center + half], z = D(x, y) - center, and s the quantile of |z| / half in each
    sample, but at least 1. Then D' = center + min(max(z, -s half), s half) / s. With s = 1 this is `clip`; a sample
    with larger s keeps its contrasts, which `clip` would flatten. As the last guidance, it limits the result of all
    others. One network evaluation.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        quantile: Share of the values of each sample that are not clipped, in (0, 1].
        low: Smallest value of x_0 in the model's units. The command line uses the range that the model records.
        high: Largest value of x_0 in the model's units, above low.
        largest: Largest s, at least 1; with 1, the result equals that of `clip`.
    Returns:
        The denoiser with thresholding.
    Raises:
        InputError: If the range is missing or empty, or an option is out of range.
    Source:
        Saharia et al. 2022, section 2.3 (dynamic thresholding).
    """
    low, high = require_data_range("threshold", low, high)
    if not 0 < quantile <= 1 or not largest >= 1:
        raise InputError(f"threshold: needs 0 < quantile <= 1 and largest >= 1, got {quantile} and {largest}")
    center, half = (low + high) / 2, (high - low) / 2

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        z = evaluate_denoiser(denoise, x, t, y) - center
        s = broadcast((_quantile(z.abs().flatten(1), quantile) / half).clamp(1, largest), z)
        return center + torch.minimum(torch.maximum(z, -s * half), s * half) / s

    return guided


def _quantile(values: Tensor, q: float) -> Tensor:
    """Return the quantile q of each row, (B,), with linear interpolation; `torch.quantile` refuses large rows."""
    position = q * (values.shape[1] - 1)
    below = math.floor(position)
    ordered = values.sort(1).values
    lower, upper = ordered[:, below], ordered[:, min(below + 1, values.shape[1] - 1)]
    return torch.lerp(lower, upper, position - below)


def _trial(sde: SDE, mixture: GaussianMixture) -> Any:
    """Options and exact result for `sdekit verify`: with quantile=1, samples are divided by their largest value."""
    from sdekit.verify import Trial  # imported here, because sampling does not need it

    base = mixture.denoiser(sde)

    def exact(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        x0 = base(x, t, y)
        return x0 / (2 * x0.abs().amax(1, keepdim=True)).clamp(min=1)

    return Trial({"low": -0.5, "high": 0.5, "quantile": 1.0}, exact)


threshold.trial = _trial  # type: ignore[attr-defined]
