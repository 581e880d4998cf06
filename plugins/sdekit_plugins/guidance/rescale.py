"""Classifier-free guidance whose result keeps the contrast of the conditional model's."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import denoise_pair, require_condition, require_finite
from sdekit.processes import SDE, Denoiser, broadcast


def rescale(sde: SDE, denoise: Denoiser, *, scale: float = 2.0, phi: float = 0.7) -> Denoiser:
    """cfg's D', then (1 - phi) D' + phi D' std(D(x, y)) / std(D'), std over all numbers of a sample.

    Against over-exposed images at large scales. scale: as cfg's, 0 and 1 too. phi: how much of it, in [0, 1]; 0 is
    cfg. One call on the doubled batch. Source: Lin et al. 2023, eq. 14-16, there on the network's own output.
    """
    require_finite("rescale", scale=scale)
    if not 0 <= phi <= 1:
        raise InputError(f"rescale: phi must be between 0 and 1, got {phi}")

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("rescale", y)
        if scale in (0, 1):
            return denoise(x, t, y if scale else None)
        conditional, plain = denoise_pair(denoise, x, t, y)
        x0 = torch.lerp(plain, conditional, scale)
        wide = _std(x0)
        ratio = torch.where(wide > 0, _std(conditional) / wide, 1.0)  # a constant has no contrast to keep
        return broadcast(1 - phi + phi * ratio, x0) * x0

    return guided


def _std(x: Tensor) -> Tensor:
    """Over the numbers of each sample, (B,)."""
    return x.flatten(1).std(1, correction=0)
