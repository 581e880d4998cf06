"""Interval: guidance only in a range of noise levels."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import unguided
from sdekit.processes import SDE, Denoiser


def interval(sde: SDE, denoise: Denoiser, *, from_: float = 0.2, to: float = 5.0) -> Denoiser:
    """Interval: apply the guidances before this one only at noise levels from <= rho <= to.

    At other noise levels only the unguided model is evaluated, and no batch is doubled. rho = sigma / alpha is EDM's
    sigma. Guidance reduces diversity at high noise levels and has no effect at low ones; if it is left out at both, it
    may be stronger at the levels between. Samples of a batch at different noise levels are evaluated separately.

    Arguments:
        sde: Process of the denoiser.
        denoise: The guided denoiser.
        from_: Smallest noise level with guidance, at least 0.
        to: Largest noise level with guidance, above `from`.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If the range is empty.
    Source:
        Kynkaanniemi et al. 2024, eq. 5.
    """
    if not 0 <= from_ < to:
        raise InputError(f"interval: needs 0 <= from < to, got {from_} and {to}")
    without_guidance = unguided(denoise)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        rho = sde.rho(t)
        inside = (rho >= from_) & (rho <= to)
        if inside.all():
            return denoise(x, t, y)
        if not inside.any():
            return without_guidance(x, t, y)
        x0 = torch.empty_like(x)
        for rows, denoiser in ((inside, denoise), (~inside, without_guidance)):
            rows = rows.to(x.device)
            x0[rows] = denoiser(x[rows], t[rows.to(t.device)], None if y is None else y[rows])
        return x0

    return guided
