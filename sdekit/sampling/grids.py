"""Time grids: the times at which a sampler stops, `grid(sde, n) -> (n + 1,)`, decreasing, float64, on the CPU.

Every grid starts at t_max. All grids except `auto` and `shift` end at t_min; these two end above it. Grids that are
spaced in rho = sigma / alpha can be used with any process. If rho at t_max is above 1e3, or infinite, their spacing
starts from 1e3, the highest noise level at which networks are trained.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sdekit.arguments import check_count, check_number
from sdekit.errors import InputError
from sdekit.processes import LARGEST_RHO, SDE, as_time, check_process

MOST_STEPS = 10**7
"""Largest number of steps of a grid; a larger one would not fit into memory."""


def uniform(sde: SDE, n: int) -> Tensor:
    """Equal steps in t: t_i = t_max + i/n (t_min - t_max).

    Arguments:
        sde: Process.
        n: Number of steps, at least 0.
    Returns:
        Times, (n + 1,).
    Source:
        Song et al. 2021.
    """
    check_steps(sde, n)
    return torch.linspace(sde.t_max, sde.t_min, n + 1, dtype=torch.float64)


def karras(sde: SDE, n: int, *, p: float = 7.0) -> Tensor:
    """Equal steps in rho^(1/p): EDM's grid.

    Arguments:
        sde: Process.
        n: Number of steps, at least 0.
        p: Exponent of the root, > 0; a larger one puts more of the steps at low noise.
    Returns:
        Times, (n + 1,).
    Raises:
        InputError: If p is not positive and finite.
    Source:
        Karras et al. 2022, eq. 5.
    """
    check_steps(sde, n)
    p = check_number("grid karras: p", p, above=0)
    high, low = _ends(sde)
    return _times(sde, torch.linspace(high ** (1 / p), low ** (1 / p), n + 1, dtype=torch.float64) ** p)


def log_snr(sde: SDE, n: int) -> Tensor:
    """Equal steps in the log-SNR -2 log rho, for exponential integrators.

    Arguments:
        sde: Process.
        n: Number of steps, at least 0.
    Returns:
        Times, (n + 1,).
    Source:
        Lu et al. 2022a (DPM-Solver) and 2022b (DPM-Solver++).
    """
    check_steps(sde, n)
    high, low = _ends(sde)
    return _times(sde, torch.linspace(math.log(high), math.log(low), n + 1, dtype=torch.float64).exp())


def auto(sde: SDE, n: int, *, data_std: float = 1.0) -> Tensor:
    """Equal steps in log((rho + b) / (rho + c)) + log(rho) / 2: the grid of the sampler `auto`.

    With N = n + 1 noise levels, b = 0.1 and c = N / 4 in units of data_std. The steps in log rho are short between b
    and c, where samples of most data choose their mode and their place in it, and up to three times as long outside.
    The levels run from 2.5 N^1.2 to 0.15 / N^1.6, limited to the noise levels of the process; t_max then replaces the
    first time. The grid ends above t_min, because the final denoising covers the rest better than steps would.

    The constants minimise the largest errors over families of data: smooth mixtures in 1 to 768 dimensions, isolated
    points, data near a subspace, heavy tails, axes of different scales, and clusters of clusters.

    Arguments:
        sde: Process.
        n: Number of steps, at least 0.
        data_std: Standard deviation of the data in the model's units, > 0.
    Returns:
        Times, (n + 1,).
    Raises:
        InputError: If data_std is not positive and finite.
    """
    check_steps(sde, n)
    data_std = check_number("grid auto: data_std", data_std, above=0)
    high, low = _ends(sde)
    calls = n + 1
    last = max(min(0.15 / calls**1.6 * data_std, high / 2), low)
    first = min(max(2.5 * calls**1.2 * data_std, 10 * last), high)
    b, c = 0.1 * data_std, calls / 4 * data_std
    log_rho = torch.linspace(math.log(last), math.log(first), 4001, dtype=torch.float64)
    rho = log_rho.exp()
    u = ((rho + b) / (rho + c)).log() + log_rho / 2
    levels = np.interp(np.linspace(float(u[-1]), float(u[0]), n + 1), u.numpy(), log_rho.numpy())
    times = sde.time(torch.from_numpy(levels).exp()).clamp(sde.t_min, sde.t_max)
    if last == low:
        times[-1] = sde.t_min
    times[0] = sde.t_max
    return times


def sqrt_log_snr(sde: SDE, n: int) -> Tensor:
    """Equal steps in the root of the log-SNR above its lowest value, (log rho_max - log rho)^(1/2).

    From the noise to the data, the steps in log rho grow in the proportions 1, 3, 5, ..., 2n - 1. The spacing is
    between `log_snr` and `quadratic`; the latter makes many short steps at one end.

    Arguments:
        sde: Process.
        n: Number of steps, at least 0.
    Returns:
        Times, (n + 1,).
    Source:
        Modelled on `log_snr`.
    """
    check_steps(sde, n)
    high, low = _ends(sde)
    part = torch.linspace(0, 1, n + 1, dtype=torch.float64) ** 2
    return _times(sde, (math.log(high) + part * math.log(low / high)).exp())


def quadratic(sde: SDE, n: int) -> Tensor:
    """Equal steps in the root of t: t_i = (t_max^(1/2) + i/n (t_min^(1/2) - t_max^(1/2)))^2.

    Arguments:
        sde: Process.
        n: Number of steps, at least 0.
    Returns:
        Times, (n + 1,).
    Source:
        Song, Meng & Ermon 2021, appendix D.3, for tables of times.
    """
    check_steps(sde, n)
    times = torch.linspace(sde.t_max**0.5, sde.t_min**0.5, n + 1, dtype=torch.float64) ** 2
    times[0], times[-1] = sde.t_max, sde.t_min
    return times


def cosine(sde: SDE, n: int) -> Tensor:
    """Equal steps in the angle arctan(rho), from signal (0) to noise (pi / 2).

    This is the spacing of the cosine schedule, on any process. Half of the steps are at noise levels rho below 1.

    Arguments:
        sde: Process.
        n: Number of steps, at least 0.
    Returns:
        Times, (n + 1,).
    Source:
        Nichol & Dhariwal 2021, eq. 17, with s = 0.
    """
    check_steps(sde, n)
    high, low = (torch.atan2(sde.sigma(as_time(t)), sde.alpha(as_time(t))) for t in (sde.t_max, sde.t_min))
    return _times(sde, torch.linspace(high, low, n + 1, dtype=torch.float64).tan())


def shift(sde: SDE, n: int, *, shift: float = 1.0, last: float | None = None) -> Tensor:
    """Equal steps in sigma / (alpha + sigma), then rho times a factor, as for large rectified flows.

    u = sigma / (alpha + sigma) is the time of the rectified flow with the noise level rho. Large images need more steps
    at high noise, so the factor is larger for them: 3 for Stable Diffusion 3, exp(mu) for Flux, whose mu is linear in
    the number of patches.

    Arguments:
        sde: Process.
        n: Number of steps, at least 0.
        shift: Factor of rho, > 0.
        last: Last u before the shift, between 0 and 1; by default 1 / (n + 1), so that the final denoising, to u = 0,
            is as long as each step.
    Returns:
        Times, (n + 1,).
    Raises:
        InputError: If shift is not positive and finite, or last is not between 0 and 1.
    Source:
        Esser et al. 2024, eq. 23.
    """
    check_steps(sde, n)
    shift = check_number("grid shift: needs shift > 0 and 0 < last < 1: shift", shift, above=0)
    last = None if last is None else check_number("grid shift: last", last)
    if not (last is None or 0 < last < 1):
        raise InputError(f"grid shift: needs shift > 0 and 0 < last < 1, got shift={shift}, last={last}")
    rho = sde.rho(torch.tensor([sde.t_max, sde.t_min], dtype=torch.float64)) / shift
    first, least = (1 / (1 + 1 / rho)).tolist()
    end = 1 / (n + 1) if last is None else last
    end = end if end < 0.9 * first else first / (n + 1)  # a process that starts at low noise, as after `add_noise`
    u = torch.linspace(first, max(end, least), n + 1, dtype=torch.float64)
    times = sde.time(shift * u / (1 - u)).clamp(sde.t_min, sde.t_max)
    times[0] = sde.t_max
    if end <= least:
        times[-1] = sde.t_min  # exactly, without the rounding errors of rho and its inverse
    return times


def spaced_knots(
    n: int, *, knots: int = 1000, spacing: Literal["leading", "trailing", "linspace"] = "leading", offset: int = 0
) -> Tensor:
    """Choose n of the knots t = (i + 1) / knots of a table of betas, as samplers of such tables do.

    - leading: i = offset, offset + s, offset + 2 s, ... with s = floor(knots / n), so that the first time is below 1,
    - trailing: i = knots - 1, knots - 1 - knots / n, ..., rounded,
    - linspace: n evenly spaced i from knots - 1 to 0, rounded.

    Arguments:
        n: Number of times, from 1 to `knots`.
        knots: Number of betas in the table.
        spacing: Rule for the indices i.
        offset: Number that is added to the indices of "leading".
    Returns:
        Decreasing times, (n,), float64.
    Raises:
        InputError: If n or the rule is out of range.
    Source:
        Lin et al. 2024, table 2.
    """
    if not 1 <= n <= knots:
        raise InputError(f"a table of {knots} knots has grids of 1 to {knots} times, got {n}")
    if spacing == "leading":
        i = torch.arange(n, dtype=torch.float64).flip(0) * (knots // n) + offset
    elif spacing == "trailing":
        i = (knots - torch.arange(n, dtype=torch.float64) * (knots / n)).round() - 1
    elif spacing == "linspace":
        i = torch.linspace(knots - 1, 0, n, dtype=torch.float64).round()
    else:
        raise InputError(f"no spacing {spacing!r}: choose leading, trailing or linspace")
    if i[0] >= knots or i[-1] < 0:
        raise InputError(f"{n} times with the offset {offset} need the index {i[0]:g} in a table of {knots} knots")
    return (i + 1) / knots


def check_steps(sde: SDE, n: int) -> None:
    """Raise InputError unless the arguments of a grid are a process and a whole number of steps."""
    check_process("grid", sde)
    check_count("grid: n", n, most=MOST_STEPS)


def _ends(sde: SDE) -> tuple[float, float]:
    """rho at both ends, the upper one limited to `LARGEST_RHO` and the lower one positive."""
    high, low = sde.rho(torch.tensor([sde.t_max, sde.t_min], dtype=torch.float64)).tolist()
    return min(high, LARGEST_RHO), max(low, 1e-6)


def _times(sde: SDE, rho: Tensor) -> Tensor:
    """Times of the levels rho, with the exact t_max and t_min at the ends."""
    times = sde.time(rho)
    times[0] = sde.t_max
    if len(times) > 1:
        times[-1] = sde.t_min
    return times
