"""Checks of single steps against closed forms. Their error is one order smaller than the error of a trajectory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, as_time
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
    last = "|x_s - flow(x_t)| = O(h^(order + 1)) in the last step"
    deterministic = _with_zero_eta(sampler)
    if deterministic is not None:
        yield Check("last step[vp, eta = 0]", last, partial(last_step, deterministic, trials["vp"], cut_last_step))
    for name, sde in trials.items():
        law = "error of x (if stochastic: of mean and std) of one step from t_max to t_min = O(h^(order + 1))"
        yield Check(f"one step[{name}]", law, partial(one_step, sampler, sde))
        if not sampler.stochastic:
            yield Check(f"last step[{name}]", last, partial(last_step, sampler, sde, karras))
            if name == "vp":
                yield Check(f"last step[{name}, uneven steps]", last, partial(last_step, sampler, sde, cut_last_step))


def _with_zero_eta(sampler: Sampler) -> Sampler | None:
    """Return a stochastic sampler with eta = 0, or None if it has no option eta or refuses the value 0."""
    if not sampler.stochastic or "eta" not in {f.name for f in fields(sampler)}:
        return None
    try:
        return replace(sampler, **{"eta": 0.0})
    except InputError:
        return None


def one_step(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the error of one step falls as h^(order + 1), on a process shortened to this step.

    The step starts from the exact distribution and is the only step of the trajectory. A multistep method therefore
    has no earlier steps, and its step may be of order 1.
    """
    cut: Callable[..., SDE] = partial(replace, sde)  # type: ignore[type-var]

    def error(n: int) -> float:
        t = sde.time(as_time(LEAST_RHO * math.exp(LARGEST_STEP / n)))
        piece = cut(t_max=float(t))
        times = torch.tensor([piece.t_max, piece.t_min], dtype=torch.float64)
        if sampler.stochastic:
            return AffineMap(sampler, piece, times).moments_error(piece, times)
        x, exact = exact_quantiles(piece, times[0]), exact_quantiles(piece, times[1])
        return float((run_sampler(sampler, piece, MIXTURE_1D.denoiser(piece), x, times)[-1] - exact).abs().max())

    if sampler.stochastic:
        times = torch.tensor([sde.time(as_time(0.2)), sde.t_min], dtype=torch.float64)
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
    """Check that the error of the last step, relative to the exact flow over this step, falls as h^(order + 1)."""
    x, denoise, order = exact_quantiles(sde, sde.t_max), MIXTURE_1D.denoiser(sde), sampler.order or 0

    def error(n: int) -> float:
        times = grid(sde, n)
        x_t, x_s = run_sampler(sampler, sde, denoise, x, times)[-2:]
        return float((x_s - exact_flow(sde, x_t, times[-2], times[-1])).abs().max())

    steps, errors = refine((20, 40, 80, 160, 320), error, order + 0.6)
    measured = measured_orders(steps, errors)[-1]
    cause = (
        f"the step that ends at t_min has order {max(round(measured) - 1, 0)}: it omits a correction, or takes its "
        "coefficients at the wrong time"
    )
    return _finding(measured, order + 0.6, steps, errors, cause)


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
