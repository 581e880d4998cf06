"""Classifier-free guidance."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import denoise_pair, require_condition, require_finite
from sdekit.models import is_label
from sdekit.processes import SDE, Denoiser


def cfg(sde: SDE, denoise: Denoiser, *, scale: float = 2.0, negative: int | str | None = None) -> Denoiser:
    """Classifier-free guidance: D(x) + scale (D(x, y) - D(x)), where D(x) has no condition.

    One network evaluation, on the doubled batch. The model must support the null condition: train it with --drop 0.1.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        scale: 1 is the conditional and 0 the unconditional model, exactly and without doubling the batch. Above 1,
            samples are closer to y and less diverse; below 0, they move away from y.
        negative: Label that replaces the null condition, so that samples move away from it, or None. On the command
            line it may be the name of a class; in Python, `OpenedModel.labels` returns the labels of names.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If scale is not finite, or if `negative` is a name; when called, if there is no condition, or it is
            not a label although `negative` is given.
    Source:
        Ho & Salimans 2022, eq. 6, where w is scale - 1.
    """
    require_finite("cfg", scale=scale)
    if isinstance(negative, str):
        raise InputError(
            f"cfg: negative={negative!r} is the name of a class; pass its label, run.labels([{negative!r}])"
        )

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("cfg", y)
        if negative is not None and not is_label(y):
            raise InputError(f"cfg: negative={negative} is a label, and the condition here is not: leave it out")
        against = None if negative is None else torch.full_like(y, negative)
        if scale == 1:
            return denoise(x, t, y)
        if scale == 0:
            return denoise(x, t, against)
        conditional, unconditional = denoise_pair(denoise, x, t, y, against)
        return torch.lerp(unconditional, conditional, scale)

    return guided
