"""Checks of single steps against closed forms. Their error is one order smaller than the error of a trajectory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from sdekit.processes import SDE, VP, as_time
from sdekit.sampling import Sampler, karras
from sdekit.verify.common.check_results import Check, Finding, skip
from sdekit.verify.common.problems import (
    ERROR_FLOOR,
    LEAST_RHO,
    MIXTURE_1D,
    AffineMap,
    exact_flow,
    exact_quantiles,
    measured_orders,
    refine,
    run_sampler,
    with_eta,
)

LARGEST_STEP = 1.6
"""Largest single step, in log rho."""

DIVISIONS = (1, 2, 4, 8, 16)
"""Divisors of the largest step."""


def checks(sampler: Sampler, trials: Mapping[str, SDE]) -> Iterator[Check]:
    """Yield every check of single steps, for a sampler that declares an order.

    Arguments:
        sampler: Sampler.
        trials: Processes, by name.
    """
    if sampler.order is None or (sampler.stochastic and sampler.requires_single_sample):
        return
    last = "|x_s - flow(x_t)| = O(h^(order + 1)) in every step"
    for deterministic in with_eta(sampler, 0.0).values() if sampler.stochastic else ():
        yield Check("last step[vp, eta = 0]", last, partial(last_step, deterministic, trials["vp"], cut_last_step))
    for name, sde in trials.items():
        law = "error of x (if stochastic: of mean and std) of one step from t_max to t_min = O(h^(order + 1))"
        yield Check(f"one step[{name}]", law, partial(one_step, sampler, sde, True))
        if name == "vp" and not sampler.stochastic:  # some raise the noise level before a step if they can
            yield Check("one step[vp, inner times]", law, partial(one_step, sampler, VP(), False))
        if not sampler.stochastic:
            yield Check(f"last step[{name}]", last, partial(last_step, sampler, sde, karras))
            if name == "vp":
                yield Check(f"last step[{name}, uneven steps]", last, partial(last_step, sampler, sde, cut_last_step))


def one_step(sampler: Sampler, sde: SDE, shorten: bool) -> Finding:
    """Check that the error of one step falls as h^(order + 1), on a process shortened to this step or inside of it.

    The step starts from the exact distribution and is the only step of the trajectory. A multistep method therefore
    has no earlier steps, and its step may be of order 1.
    """
    cut: Callable[..., SDE] = partial(replace, sde)  # type: ignore[type-var]

    def error(n: int) -> float:
        t = sde.time(as_time(LEAST_RHO * math.exp(LARGEST_STEP / n)))
        piece = cut(t_max=float(t)) if shorten else sde
        times = torch.stack([t, sde.time(as_time(LEAST_RHO))]).clamp(piece.t_min, piece.t_max)
        if sampler.stochastic:
            return AffineMap(sampler, piece, times).moments_error(piece, times)
        x, exact = exact_quantiles(piece, times[0]), exact_quantiles(piece, times[1])
        return float((run_sampler(sampler, piece, MIXTURE_1D.denoiser(piece), x, times)[-1] - exact).abs().max())

    if sampler.stochastic:
        times = sde.time(torch.tensor([0.2, LEAST_RHO], dtype=torch.float64)).clamp(min=sde.t_min)
        if AffineMap(sampler, sde, times).error > 1e-6:
            return skip("the step is not affine in x and its draws; the check marginals measures the sampler instead")
    required = (2 if is_multistep(sampler, sde) else (sampler.order or 0) + 1) - 0.4
    steps, errors = refine(DIVISIONS, error, required)
    measured = measured_orders(steps, errors)[-1]
    cause = (
        f"a step that is the first or the last has order {max(round(measured) - 1, 0)}: it omits a correction or its "
        "noise, or takes its coefficients at the wrong time"
    )
    return _finding(measured, required, steps, errors, cause)


def is_multistep(sampler: Sampler, sde: SDE) -> bool:
    """Return whether a sampler uses earlier steps.

    If it does, the second step of a trajectory differs from the first step of a new trajectory from the same x.
    """
    times = sde.time(as_time(LEAST_RHO) * torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).clamp(min=sde.t_min)
    x, denoise = exact_quantiles(sde, times[0]), MIXTURE_1D.denoiser(sde)

    def zeros(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)

    first, second = run_sampler(sampler, sde, denoise, x, times, zeros)
    restarted = run_sampler(sampler, sde, denoise, first, times[1:], zeros)[-1]
    return float((second - restarted).abs().max()) > 1e-9


def cut_last_step(sde: SDE, n: int) -> Tensor:
    """Return Karras et al.'s grid with its last step split into three quarters and one quarter, in log rho.

    If a method inverts the ratio of two step lengths by mistake, its errors cancel along a trajectory, even on an
    uneven grid. They do not cancel in the last step of this grid.
    """
    times = karras(sde, n)
    t, s = sde.rho(times[-2:]).log()
    return torch.cat([times[:-1], sde.time((0.25 * t + 0.75 * s).exp())[None], times[-1:]])


def last_step(sampler: Sampler, sde: SDE, grid: Callable[[SDE, int], Tensor]) -> Finding:
    """Check that the error of each step, relative to the exact flow over this step, falls as h^(order + 1).

    The first steps are left out, because a multistep method has too few earlier steps there. If the last step violates
    the law, it is reported; otherwise the step with the largest error relative to the standard deviation of x.
    """
    x, denoise, order = exact_quantiles(sde, sde.t_max), MIXTURE_1D.denoiser(sde), sampler.order or 0

    @lru_cache
    def step_errors(n: int) -> Tensor:
        times = grid(sde, n)
        states = torch.stack(run_sampler(sampler, sde, denoise, x, times))
        flow = exact_flow(sde, states[:-1], times[1:-1], times[2:])
        std = (sde.alpha(times[2:]) ** 2 + sde.sigma(times[2:]) ** 2).sqrt()
        return ((states[1:] - flow).abs().amax((1, 2)) / std)[order - 1 :]

    finding = Finding(True, "", "")
    for part in (slice(-1, None), slice(None)):
        steps, errors = refine((20, 40, 80, 160, 320), lambda n: float(step_errors(n)[part].max()), order + 0.6)  # noqa: B023
        measured = measured_orders(steps, errors)[-1]
        which = "ends at t_min"
        if part.start is None:
            which = f"has the largest error ({int(step_errors(steps[-1]).argmax()) + order + 1} of {steps[-1]})"
        cause = (
            f"the step that {which} has order {max(round(measured) - 1, 0)}: it omits a correction, or takes its "
            "coefficients at the wrong time"
        )
        finding = _finding(measured, order + 0.6, steps, errors, cause)
        if not finding.passed:
            break
    return finding


def _finding(measured: float, required: float, steps: list[int], errors: list[float], cause: str) -> Finding:
    """Compare the measured order of a step with the required order."""
    exact = errors[-1] < ERROR_FLOOR
    return Finding(
        measured >= required or exact,
        round(measured, 3),
        f"at least {required:g}",
        cause,
        tuple(zip(steps, errors, strict=True)),
        margin=None if exact else measured / required - 1,
    )
