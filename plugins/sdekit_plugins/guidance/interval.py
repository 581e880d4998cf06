"""Guidance within an interval of noise levels only."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import unguided
from sdekit.processes import SDE, Denoiser


def interval(sde: SDE, denoise: Denoiser, *, from_: float = 0.2, to: float = 5.0) -> Denoiser:
    """The guidances before it where from <= rho <= to, and the model as it was before any guidance elsewhere.

    from, to: the least and the largest rho that is guided, 0 <= from < to; rho = sigma / alpha, EDM's sigma. At high
    noise guidance takes away diversity, at low noise it does nothing: left out there, it may be stronger between.
    Outside, nothing of it is computed: a batch is not doubled. Rows of a batch at different noise levels are computed
    apart. Source: Kynkaanniemi et al. 2024, eq. 5.
    """
    if not 0 <= from_ < to:
        raise InputError(f"interval: needs 0 <= from < to, got {from_} and {to}")
    plain = unguided(denoise)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        rho = sde.rho(t)
        inside = (rho >= from_) & (rho <= to)
        if inside.all():
            return denoise(x, t, y)
        if not inside.any():
            return plain(x, t, y)
        x0 = torch.empty_like(x)
        for rows, call in ((inside, denoise), (~inside, plain)):
            rows = rows.to(x.device)
            x0[rows] = call(x[rows], t[rows.to(t.device)], None if y is None else y[rows])
        return x0

    return guided
