"""Rescale: classifier-free guidance with the contrast of the conditional model."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import denoise_pair, require_condition, require_finite
from sdekit.processes import SDE, Denoiser, broadcast


def rescale(sde: SDE, denoise: Denoiser, *, scale: float = 2.0, phi: float = 0.7) -> Denoiser:
    """Rescaled guidance: (1 - phi) D' + phi D' std(D(x, y)) / std(D'), where D' is the result of cfg.

    The standard deviation is taken over all numbers of a sample. The rescaling prevents over-exposed images at large
    scales. One network evaluation, on the doubled batch.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        scale: Scale as in `cfg`: 1 is the conditional and 0 the unconditional model, exactly.
        phi: Share of the rescaled result, in [0, 1]; 0 is cfg.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If an option is out of range.
    Source:
        Lin et al. 2023, eq. 14-16, where the output of the network is rescaled.
    """
    require_finite("rescale", scale=scale)
    if not 0 <= phi <= 1:
        raise InputError(f"rescale: phi must be between 0 and 1, got {phi}")

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("rescale", y)
        if scale in (0, 1):
            return denoise(x, t, y if scale else None)
        conditional, unconditional = denoise_pair(denoise, x, t, y)
        x0 = torch.lerp(unconditional, conditional, scale)
        std = _std(x0)
        ratio = torch.where(std > 0, _std(conditional) / std, 1.0)  # a constant sample is not rescaled
        return broadcast(1 - phi + phi * ratio, x0) * x0

    return guided


def _std(x: Tensor) -> Tensor:
    """Return the standard deviation over the numbers of each sample, (B,)."""
    return x.flatten(1).std(1, correction=0)
