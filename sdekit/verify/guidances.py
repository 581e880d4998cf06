"""Guidances: the limits of the scale, against the exact conditionals of a mixture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sdekit.plugins import parameters
from sdekit.processes import VP, RectifiedFlow
from sdekit.sde import SDE, Denoise, as_time

from .exact import PLANE
from .report import Check, Finding, at_most

Guidance = Callable[..., Denoise]


def checks(guidance: Guidance, *, quick: bool = False) -> list[Check]:
    """All checks of one guidance, `guidance(sde, denoise, **options)`; the base denoiser is that of `exact.PLANE`.

    The limits are checked where it has an option `scale`, in which 0 is the plain and 1 the conditional model.
    """
    found = []
    for name, sde in {"vp": VP(), "rectified-flow": RectifiedFlow()}.items():
        found.append(Check(f"shape[{name}]", "a denoiser again: x (B, *) to (B, *)", partial(shape, guidance, sde)))
        found.append(
            Check(f"batch[{name}]", "E[x_0 | x, y] of a row is that of the row alone", partial(batch, guidance, sde))
        )
        if "scale" in parameters(guidance):
            law = "score at scale 1 = grad log p_t(x | y)"
            found.append(Check(f"scale 1[{name}]", law, partial(limit, guidance, sde, 1.0)))
            law = "score at scale 0 = grad log p_t(x)"
            found.append(Check(f"scale 0[{name}]", law, partial(limit, guidance, sde, 0.0)))
    return found


def trial(sde: SDE, rho: float) -> tuple[Tensor, Tensor, Tensor]:
    """x (6, 2), y (6,), t where rho is so large."""
    t = sde.time(as_time(rho))
    return PLANE.sample(6, 5, sde, t), torch.arange(6) % 3, t


def shape(guidance: Guidance, sde: SDE) -> Finding:
    """Shape and dtype of x are kept, and the result is finite."""
    x, y, t = trial(sde, 1.0)
    for dtype in (torch.float32, torch.float64):
        out = guidance(sde, PLANE.denoiser(sde))(x.to(dtype), t, y)
        kind = f"{tuple(out.shape)} {out.dtype}, {'finite' if out.isfinite().all() else 'not finite'}"
        if kind != (expected := f"(6, 2) {dtype}, finite"):
            return Finding(False, kind, expected, "a guided denoiser keeps shape and dtype of x")
    return Finding(True, "kept", "shape and dtype of x")


def batch(guidance: Guidance, sde: SDE) -> Finding:
    """Rows do not meet."""
    x, y, t = trial(sde, 1.0)
    guided = guidance(sde, PLANE.denoiser(sde))
    alone = torch.cat([guided(x[i : i + 1], t, y[i : i + 1]) for i in range(len(x))])
    return at_most(float((guided(x, t, y) - alone).abs().max()), 1e-9, "a row depends on the others", "difference ")


def limit(guidance: Guidance, sde: SDE, scale: float) -> Finding:
    """At several noise levels, in units of the score's own scale 1 / sigma."""
    worst, where = 0.0, 0.0
    for rho in (0.3, 1.0, 3.0):
        x, y, t = trial(sde, rho)
        base = PLANE.denoiser(sde)
        guided, exact = guidance(sde, base, scale=scale)(x, t, y), base(x, t, y) if scale else base(x, t)
        off = float((sde.score(x, guided, t) - sde.score(x, exact, t)).abs().max() * sde.sigma(t))
        worst, where = max((worst, where), (off, rho))
    law = "conditional" if scale else "unconditional"
    cause = f"it is not the {law} model (most so at rho = {where:g}): eps = -sigma score, scale the score"
    return at_most(worst, 1e-6, cause, "sigma x score difference ")
