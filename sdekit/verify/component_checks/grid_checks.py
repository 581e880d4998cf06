"""Time grids: length, ends, order."""

from __future__ import annotations

from functools import partial

import torch

from sdekit.processes import EDM, SDE, VE, VP, Cosine, RectifiedFlow, SubVP, TabulatedVP
from sdekit.sampling import Grid
from sdekit.verify.common.report import Check, Finding, same

PROCESSES: dict[str, SDE] = {
    "vp": VP(),
    "rectified-flow": RectifiedFlow(),
    "sub-vp": SubVP(),
    "ve": VE(),
    "cosine": Cosine(),
    "edm": EDM(),
    "ddpm-linear": TabulatedVP.linear(),
}

LOW: tuple[SDE, ...] = (EDM(sigma_min=1e-8), RectifiedFlow(t_min=1e-8))


def checks(grid: Grid, *, quick: bool = False) -> list[Check]:
    """All checks of one grid, its options bound: `grid(sde, n)`."""
    found = []
    for name, sde in list(PROCESSES.items())[: 2 if quick else None]:
        counts = (1, 2, 3, 10, 50) if quick else (1, 2, 3, 10, 50, 1000)
        found += [
            Check(
                f"length[{name}]", "n steps are n + 1 times, float64, on the CPU", partial(length, grid, sde, counts)
            ),
            Check(
                f"ends[{name}]",
                "times[0] = t_max, times[n] = t_min, or above it where rho <= 1 / n is a function of n alone",
                partial(ends, grid, sde, counts),
            ),
            Check(
                f"decreasing[{name}]",
                "t_max = times[0] > times[1] > ... > times[n]",
                partial(falling, grid, sde, counts),
            ),
            Check(f"repeatable[{name}]", "a grid is a function of sde and n", partial(repeatable, grid, sde)),
        ]
    return found


def length(grid: Grid, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """Shape, dtype and device."""
    for n in counts:
        times = grid(sde, n)
        kind = f"{tuple(times.shape)} {times.dtype} {times.device}"
        expected = f"({n + 1},) torch.float64 cpu"
        if kind != expected:
            return Finding(False, kind, expected, f"a grid of {n} steps has another length, dtype or device")
    return Finding(True, "n + 1", "n + 1 times, float64, on the CPU")


def ends(grid: Grid, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """Exactly from t_max to t_min.

    Or, for the last denoising to do the rest, to a little noise: then at one level of rho for each n on every process
    that goes lower. A grid that stops early by mistake stops at another level on each.
    """
    for n in counts:
        times = grid(sde, n)
        first, last = float(times[0]), float(times[-1])
        missed = Finding(
            False, f"{first!r} to {last!r}", f"{sde.t_max!r} to {sde.t_min!r}", f"a grid of {n} steps misses an end"
        )
        if first != sde.t_max or last < sde.t_min:
            return missed
        if last > sde.t_min and not _meant(grid, sde, n, float(sde.rho(times[-1]))):
            return missed
    return Finding(True, "t_max to t_min", "t_max to t_min")


def _meant(grid: Grid, sde: SDE, n: int, level: float) -> bool:
    """Whether it stops at this level of rho on two other processes, which go very low."""
    levels = [float(other.rho(grid(other, n)[-1])) for other in LOW]
    return level <= 1 / n and all(abs(other / level - 1) < 1e-6 for other in levels)


def falling(grid: Grid, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """No time twice, none larger than the one before, none that is not finite."""
    for n in counts:
        times = grid(sde, n)
        bad = ((times.diff() >= 0) | ~times[1:].isfinite()).nonzero().flatten().tolist()
        if bad:
            at = f"times[{bad[0]}] = {float(times[bad[0]]):.6g}, times[{bad[0] + 1}] = {float(times[bad[0] + 1]):.6g}"
            repeated = bool(times[bad[0]] == times[bad[0] + 1])
            cause = f"a grid of {n} steps {'repeats a time' if repeated else 'does not decrease'}"
            return Finding(False, at, "strictly decreasing", cause)
    return Finding(True, "decreasing", "strictly decreasing")


def repeatable(grid: Grid, sde: SDE) -> Finding:
    """Twice the same, whatever torch's default dtype is."""
    one = grid(sde, 10)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64 if before == torch.float32 else torch.float32)
        two = grid(sde, 10)
    finally:
        torch.set_default_dtype(before)
    return same(float((one - two).abs().max()), 0.0, "it changes between calls, or with torch's default dtype")
