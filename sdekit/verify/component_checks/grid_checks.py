"""Checks of time grids: length, ends, order."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import torch

from sdekit.errors import InputError
from sdekit.processes import EDM, SDE, VE, VP, Cosine, RectifiedFlow, SubVP, TabulatedVP, TruncatedSDE
from sdekit.registry import parameters
from sdekit.sampling import Grid
from sdekit.verify.common.check_results import Check, Finding, at_most, same

PROCESSES: dict[str, SDE] = {
    "vp": VP(),
    "rectified-flow": RectifiedFlow(),
    "sub-vp": SubVP(),
    "ve": VE(),
    "cosine": Cosine(),
    "edm": EDM(),
    "ddpm-linear": TabulatedVP.linear(),
    "vp with other options": VP(beta_max=15.0, t_min=1e-3, t_max=0.9),
    "shortened": TruncatedSDE(VE(), 0.8),
}

LOW_NOISE_PROCESSES: tuple[SDE, ...] = (EDM(sigma_min=1e-8), RectifiedFlow(t_min=1e-8))
"""Processes that end at a very low noise level."""


def checks(grid: Grid, *, quick: bool = False) -> list[Check]:
    """Return all checks of one grid.

    Arguments:
        grid: Function `grid(sde, n)` that returns n + 1 times.
        quick: Measure on four processes with up to 50 steps, instead of nine with up to 1000 steps.
    """
    result = []
    counts = (*range(1, 13), 50) if quick else (*range(1, 25), 50, 201, 1000)
    processes = list(PROCESSES.items())
    for name, sde in [*processes[:2], *processes[-2:]] if quick else processes:
        law = "n steps have n + 1 times, float64, on the CPU, without gradient"
        form = Check(f"length[{name}]", law, partial(length, grid, sde, counts))
        law = "t_max = times[0] > times[1] > ... > times[n]"
        order = Check(f"decreasing[{name}]", law, partial(decreasing, grid, sde, counts), (form,))
        law = "times[0] = t_max; times[n] = t_min, or rho(times[n]) <= 1 / n depends on n only"
        result += [form, order, Check(f"ends[{name}]", law, partial(ends, grid, sde, counts), (form,))]
        law = "a grid is a function of sde and n"
        result.append(Check(f"repeatable[{name}]", law, partial(repeatable, grid, sde), (form,)))
        law = "the largest step in arctan rho with 1000 steps is at most a third of that with 20"
        result.append(Check(f"refines[{name}]", law, partial(refines, grid, sde), (form, order)))
    if parameters(grid):
        result.append(Check("options", "each option changes the grid", partial(options, grid, PROCESSES["vp"])))
    return result


def length(grid: Grid, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """Check that a grid of n steps has n + 1 times in float64 on the CPU."""
    for n in counts:
        times = grid(sde, n)
        measured = f"{tuple(times.shape)} {times.dtype} {times.device}"
        expected = f"({n + 1},) torch.float64 cpu"
        cause = f"a grid of {n} steps has another length, dtype or device: return {n + 1} times in float64"
        if times.requires_grad:
            measured, cause = f"{measured} with gradient", "the times require a gradient: detach them"
        if measured != expected:
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
        close = times.diff() > -1e-9 * times[:-1].abs()  # closer times would make a step of rounding errors
        bad = (close | ~times[1:].isfinite()).nonzero().flatten().tolist()
        if bad:
            i = bad[0]
            measured = f"times[{i}] = {float(times[i]):.6g}, times[{i + 1}] = {float(times[i + 1]):.6g}"
            problem = "does not decrease" if times[i] < times[i + 1] else "repeats a time"
            cause = f"a grid of {n} steps {problem}: return strictly decreasing times"
            return Finding(False, measured, "strictly decreasing", cause)
    return Finding(True, "decreasing", "strictly decreasing")


def repeatable(grid: Grid, sde: SDE) -> Finding:
    """Check that a second call gives the same grid, even if the default dtype or the first result were changed."""
    one, before = grid(sde, 10), torch.get_default_dtype()
    expected, other = one.clone(), torch.float64 if before == torch.float32 else torch.float32
    one.zero_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        state = torch.get_rng_state()
        try:
            torch.set_default_dtype(other)
            two = grid(sde, 10)
            changed = torch.get_default_dtype() != other or not torch.equal(torch.get_rng_state(), state)
        finally:
            torch.set_default_dtype(before)
    if changed:
        cause = "the grid changes the default dtype of torch or its random generator: leave them as they are"
        return Finding(False, "changed", "unchanged", cause)
    cause = "the grid changes between calls or with torch's default dtype: create new tensors with dtype=torch.float64"
    difference, inner = float((expected - two).abs().max()), grid(sde, 11)[1:-1]
    if difference == 0 and torch.equal(inner.float().double(), inner):
        cause = "the times are rounded to float32: compute them in float64"
        return Finding(False, "rounded to float32", "float64", cause)
    return same(difference, 0.0, cause)


def refines(grid: Grid, sde: SDE) -> Finding:
    """Check that more steps make every step shorter: the largest step in arctan rho tends to 0.

    A sampler does not converge on a grid with a step that stays long.
    """
    coarse, fine = (-torch.atan2(sde.sigma(t), sde.alpha(t)).diff() for t in (grid(sde, 20), grid(sde, 1000)))
    cause = f"step {int(fine.argmax()) + 1} of 1000 is too long: make all steps shorter if n increases"
    return at_most(float(fine.max() / coarse.max()), 1 / 3, cause, "ratio of the largest steps ")


def options(grid: Grid, sde: SDE) -> Finding:
    """Check that each numeric option with a default changes the times, of grids of 3, 10 or 100 steps."""
    for name, parameter in parameters(grid).items():
        value, changed = parameter.default, False
        if type(value) not in (int, float):
            continue
        for n in (3, 10, 100):
            with suppress(InputError):
                other = partial(grid, **{name: 2 * value + (not value)})
                changed = changed or not torch.equal(other(sde, n), grid(sde, n))
        if not changed:
            return Finding(False, name, "every option changes the times", f"the option {name} has no effect: use it")
    return Finding(True, "all", "every option changes the times")
