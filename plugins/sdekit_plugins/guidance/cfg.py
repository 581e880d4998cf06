"""Classifier-free guidance."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import denoise_pair, require_condition, require_finite
from sdekit.models import is_label
from sdekit.processes import SDE, Denoiser


def cfg(sde: SDE, denoise: Denoiser, *, scale: float = 2.0, negative: int | None = None) -> Denoiser:
    """D(x, 0) + scale (D(x, y) - D(x, 0)), 0 the null condition, in one network call on the doubled batch.

    scale: 1 is the conditional model and 0 the unconditional one, bit for bit and without the doubling; more than 1
    drives samples towards y, at the price of diversity; below 0, away from it. negative: a label to be driven away
    from, in the place of the null condition. The model must know the null condition: train with --drop 0.1.
    Source: Ho & Salimans 2022, eq. 6, whose w is scale - 1.
    """
    require_finite("cfg", scale=scale)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("cfg", y)
        if negative is not None and not is_label(y):
            raise InputError(f"cfg: negative={negative} is a label, and the condition here is not: leave it out")
        against = None if negative is None else torch.full_like(y, negative)
        if scale == 1:
            return denoise(x, t, y)
        if scale == 0:
            return denoise(x, t, against)
        conditional, plain = denoise_pair(denoise, x, t, y, against)
        return torch.lerp(plain, conditional, scale)

    return guided
