"""Adaptive projected guidance."""

import math

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import denoise_pair, require_condition, require_finite
from sdekit.processes import SDE, Denoiser, broadcast


def apg(
    sde: SDE, denoise: Denoiser, *, scale: float = 2.0, eta: float = 0.0, norm: float = 0.0, momentum: float = 0.0
) -> Denoiser:
    """D_c + (scale - 1) (d_orthogonal + eta d_parallel), d = D_c - D_0 split along D_c, the conditional x_0.

    The part along D_c saturates colours, the part across it makes the image better. scale: as cfg's, 0 and 1 too.
    eta: how much of the part along; 1 is cfg. norm: d is shortened to this length, 0 for never. momentum: d + momentum
    times the d of the call before, negative to damp; it gives the denoiser a memory, so that it suits samplers that go
    down from t to s, and an adaptive one only at 0. One call on the doubled batch.
    Source: Sadat et al. 2024, section 4 and Algorithm 1, whose default momentum is -0.5.
    """
    require_finite("apg", scale=scale, eta=eta, norm=norm)
    if norm < 0 or not -1 < momentum < 1:
        raise InputError(f"apg: needs norm >= 0 and momentum between -1 and 1, got {norm} and {momentum}")
    last: Tensor | None = None
    last_t = math.inf

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        nonlocal last, last_t
        y = require_condition("apg", y)
        if scale in (0, 1):
            return denoise(x, t, y if scale else None)
        conditional, plain = denoise_pair(denoise, x, t, y)
        d = conditional - plain
        if momentum:
            now = float(t.max())
            if last is not None and last.shape == d.shape and now <= last_t:  # else a new start
                d = d + momentum * last
            last, last_t = d, now
        if norm:
            d = d * broadcast((norm / _dot(d, d).sqrt()).clamp(max=1.0), d)
        squared = _dot(conditional, conditional)
        share = torch.where(squared > 0, _dot(d, conditional) / squared, 0.0)
        return conditional + (scale - 1) * (d - (1 - eta) * broadcast(share, d) * conditional)

    return guided


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Of each sample, (B,)."""
    return (a * b).flatten(1).sum(1)
