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
    """Adaptive projected guidance: D_c + (scale - 1) (d_orthogonal + eta d_parallel), with d = D_c - D_0.

    D_c is the conditional and D_0 the unconditional denoiser; d is split into the parts parallel and orthogonal to D_c.
    The parallel part saturates colours, the orthogonal part improves the image. One network evaluation, on the doubled
    batch.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        scale: Scale as in `cfg`: 1 is the conditional and 0 the unconditional model, exactly.
        eta: Share of the parallel part; 1 is cfg.
        norm: Largest norm of d, at least 0; a larger d is scaled down. 0 for no limit.
        momentum: Weight of the previous d, which is added to d, in (-1, 1); negative values damp. It makes the denoiser
            depend on the previous call, so that it must be 0 with an adaptive sampler.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If an option is out of range.
    Source:
        Sadat et al. 2024, section 4 and Algorithm 1, with a default momentum of -0.5.
    """
    require_finite("apg", scale=scale, eta=eta, norm=norm)
    if norm < 0 or not -1 < momentum < 1:
        raise InputError(f"apg: needs norm >= 0 and momentum between -1 and 1, got {norm} and {momentum}")
    previous: Tensor | None = None
    previous_t = math.inf

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        nonlocal previous, previous_t
        y = require_condition("apg", y)
        if scale in (0, 1):
            return denoise(x, t, y if scale else None)
        conditional, unconditional = denoise_pair(denoise, x, t, y)
        d = conditional - unconditional
        if momentum:
            largest_t = float(t.max())
            if previous is not None and previous.shape == d.shape and largest_t <= previous_t:  # else a new run
                d = d + momentum * previous
            previous, previous_t = d, largest_t
        if norm:
            d = d * broadcast((norm / _dot(d, d).sqrt()).clamp(max=1.0), d)
        squared = _dot(conditional, conditional)
        share = torch.where(squared > 0, _dot(d, conditional) / squared, 0.0)
        return conditional + (scale - 1) * (d - (1 - eta) * broadcast(share, d) * conditional)

    return guided


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot product of each sample, (B,)."""
    return (a * b).flatten(1).sum(1)
