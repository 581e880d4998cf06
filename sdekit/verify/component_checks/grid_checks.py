"""Checks of time grids: length, ends, order."""

from __future__ import annotations

from functools import partial

import torch

from sdekit.processes import EDM, SDE, VE, VP, Cosine, RectifiedFlow, SubVP, TabulatedVP
from sdekit.sampling import Grid
from sdekit.verify.common.check_results import Check, Finding, same

PROCESSES: dict[str, SDE] = {
    "vp": VP(),
    "rectified-flow": RectifiedFlow(),
    "sub-vp": SubVP(),
    "ve": VE(),
    "cosine": Cosine(),
    "edm": EDM(),
    "ddpm-linear": TabulatedVP.linear(),
}

LOW_NOISE_PROCESSES: tuple[SDE, ...] = (EDM(sigma_min=1e-8), RectifiedFlow(t_min=1e-8))
"""Processes that end at a very low noise level."""


def checks(grid: Grid, *, quick: bool = False) -> list[Check]:
    """Return all checks of one grid.

    Arguments:
        grid: Function `grid(sde, n)` that returns n + 1 times.
        quick: Measure on two processes with up to 50 steps, instead of seven processes with up to 1000 steps.
    """
    result = []
    for name, sde in list(PROCESSES.items())[: 2 if quick else None]:
        counts = (1, 2, 3, 10, 50) if quick else (1, 2, 3, 10, 50, 1000)
        law = "n steps have n + 1 times, float64, on the CPU"
        result.append(Check(f"length[{name}]", law, partial(length, grid, sde, counts)))
        law = "times[0] = t_max; times[n] = t_min, or rho(times[n]) <= 1 / n depends on n only"
        result.append(Check(f"ends[{name}]", law, partial(ends, grid, sde, counts)))
        law = "t_max = times[0] > times[1] > ... > times[n]"
        result.append(Check(f"decreasing[{name}]", law, partial(decreasing, grid, sde, counts)))
        law = "a grid is a function of sde and n"
        result.append(Check(f"repeatable[{name}]", law, partial(repeatable, grid, sde)))
    return result


def length(grid: Grid, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """Check that a grid of n steps has n + 1 times in float64 on the CPU."""
    for n in counts:
        times = grid(sde, n)
        measured = f"{tuple(times.shape)} {times.dtype} {times.device}"
        expected = f"({n + 1},) torch.float64 cpu"
        if measured != expected:
            cause = f"a grid of {n} steps has another length, dtype or device: return {n + 1} times in float64"
            return Finding(False, measured, expected, cause)
    return Finding(True, "n + 1", "n + 1 times, float64, on the CPU")


def ends(grid: Grid, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """Check that the grid runs exactly from t_max to t_min, or to a low noise level that depends only on n.

    A grid may leave a little noise to the final denoising. Its last noise level must then be the same on every process
    that reaches it. A grid that stops early by mistake stops at a different noise level on each process.
    """
    for n in counts:
        times = grid(sde, n)
        first, last = float(times[0]), float(times[-1])
        cause = f"a grid of {n} steps does not run from t_max to t_min: set its ends exactly"
        failed = Finding(False, f"{first!r} to {last!r}", f"{sde.t_max!r} to {sde.t_min!r}", cause)
        if first != sde.t_max or last < sde.t_min:
            return failed
        if last > sde.t_min and not _ends_at_level(grid, n, float(sde.rho(times[-1]))):
            return failed
    return Finding(True, "t_max to t_min", "t_max to t_min")


def _ends_at_level(grid: Grid, n: int, level: float) -> bool:
    """Return whether level <= 1 / n, and the grid ends at this noise level on all `LOW_NOISE_PROCESSES`."""
    levels = [float(other.rho(grid(other, n)[-1])) for other in LOW_NOISE_PROCESSES]
    return level <= (1 + 1e-9) / n and all(abs(other / level - 1) < 1e-6 for other in levels)


def decreasing(grid: Grid, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """Check that the times are finite and strictly decreasing."""
    for n in counts:
        times = grid(sde, n)
        bad = ((times.diff() >= 0) | ~times[1:].isfinite()).nonzero().flatten().tolist()
        if bad:
            i = bad[0]
            measured = f"times[{i}] = {float(times[i]):.6g}, times[{i + 1}] = {float(times[i + 1]):.6g}"
            problem = "repeats a time" if times[i] == times[i + 1] else "does not decrease"
            cause = f"a grid of {n} steps {problem}: return strictly decreasing times"
            return Finding(False, measured, "strictly decreasing", cause)
    return Finding(True, "decreasing", "strictly decreasing")


def repeatable(grid: Grid, sde: SDE) -> Finding:
    """Check that two calls give the same grid, even if torch's default dtype changes between them."""
    one = grid(sde, 10)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64 if before == torch.float32 else torch.float32)
        two = grid(sde, 10)
    finally:
        torch.set_default_dtype(before)
    cause = "the grid changes between calls or with torch's default dtype: create tensors with dtype=torch.float64"
    return same(float((one - two).abs().max()), 0.0, cause)
