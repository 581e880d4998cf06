"""The start of samplers that need a finite noise level."""

from __future__ import annotations

import torch
from torch import Tensor

from sdekit.processes import LARGEST_RHO, SDE, as_time

from .sampler import Sampler


def start_at_finite_rho(sampler: Sampler, sde: SDE, times: Tensor) -> tuple[Tensor, Tensor | float]:
    """Let a run start at rho = `LARGEST_RHO` if the sampler requires a finite rho and alpha is too small.

    Later times above this noise level are omitted. x at the given first time, times the factor, has the variance of x
    at the new one.

    Arguments:
        sampler: Sampler.
        sde: Process.
        times: Decreasing times, (n + 1,).
    Returns:
        Decreasing times, float64, and the factor of x; the given times and 1 if the sampler can start there.
    """
    if not sampler.requires_finite_rho or sde.alpha(times[0]) >= 1 / LARGEST_RHO:
        return times, 1.0
    first = sde.time(as_time(LARGEST_RHO))
    factor = marginal_std(sde, first) / marginal_std(sde, times[0])
    return torch.cat([first[None], times[1:][times[1:] < first]]), factor


def marginal_std(sde: SDE, t: Tensor) -> Tensor:
    """Return the standard deviation of x_t for data of variance 1, (alpha^2 + sigma^2)^(1/2).

    At high noise levels, x_t is close to normal with this standard deviation, whatever the data are.

    Arguments:
        sde: Process.
        t: Time, ().
    Returns:
        Standard deviation, ().
    """
    return (sde.alpha(t) ** 2 + sde.sigma(t) ** 2).sqrt()
