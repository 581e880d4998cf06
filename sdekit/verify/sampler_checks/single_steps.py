"""Single steps of a sampler against closed forms: each is of one order more than the whole path."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, as_time
from sdekit.sampling import Sampler, karras
from sdekit.verify.common.problems import (
    FLOOR,
    LEAST_RHO,
    LINE,
    Affine,
    flow,
    path,
    processes,
    quantiles,
    refined,
    slopes,
)
from sdekit.verify.common.report import Check, Finding, skip

WIDEST = 1.6  # of the steps in log rho
PARTS = (1, 2, 4, 8, 16)


def checks(sampler: Sampler, *, quick: bool) -> Iterator[Check]:
    """Every check of one step by itself, for a sampler that declares an order."""
    if sampler.order is None or (sampler.stochastic and sampler.requires_single_sample):
        return
    last = "|x_s - flow(x_t)| = O(h^(order + 1)), of the last step"
    still = _without_noise(sampler)
    if still is not None:
        trial = processes(quick=True)["vp"]
        yield Check("last step[vp, eta = 0]", last, partial(last_step, still, trial, shortened))
    for name, sde in processes(quick=quick).items():
        law = "error of x (of mean and std, where it is random) after one step from t_max to t_min = O(h^(order + 1))"
        yield Check(f"one step[{name}]", law, partial(one_step, sampler, sde))
        if not sampler.stochastic:
            yield Check(f"last step[{name}]", last, partial(last_step, sampler, sde, karras))
            if name == "vp":
                yield Check(f"last step[{name}, uneven steps]", last, partial(last_step, sampler, sde, shortened))


def _without_noise(sampler: Sampler) -> Sampler | None:
    """At eta = 0, where it has an eta and draws; None for others, and where it refuses 0."""
    if not sampler.stochastic or "eta" not in {f.name for f in fields(sampler)}:
        return None
    try:
        return replace(sampler, **{"eta": 0.0})
    except InputError:
        return None


def one_step(sampler: Sampler, sde: SDE) -> Finding:
    """The first step and the last, for it is the only one: a process as short as the step, from its exact law."""
    short: Callable[..., SDE] = partial(replace, sde)  # type: ignore[type-var]

    def error(n: int) -> float:
        t = sde.time(as_time(LEAST_RHO * math.exp(WIDEST / n)))
        piece = short(t_max=float(t))
        times = torch.tensor([piece.t_max, piece.t_min], dtype=torch.float64)
        if sampler.stochastic:
            return Affine(sampler, piece, times).moments_error(piece, times)
        x, exact = quantiles(piece, times[0]), quantiles(piece, times[1])
        return float((path(sampler, piece, LINE.denoiser(piece), x, times)[-1] - exact).abs().max())

    if sampler.stochastic:
        times = torch.tensor([sde.time(as_time(0.2)), sde.t_min], dtype=torch.float64)
        if Affine(sampler, sde, times).error > 1e-6:
            return skip("not affine: its moments take Monte-Carlo, see marginals")
    declared = sampler.order or 0
    # a method that remembers has nothing to remember in its first step, and may make it as DDIM does
    needed = (2 if remembers(sampler, sde) else declared + 1) - 0.4
    steps, errors = refined(PARTS, error, needed)
    measured = slopes(steps, errors)[-1]
    cause = (
        f"a step is of order {max(round(measured) - 1, 0)} where it is the first or the last: it drops a correction or "
        "its noise, or takes its coefficients at the wrong time"
    )
    return _found(measured, needed, errors, cause, steps)


def remembers(sampler: Sampler, sde: SDE) -> bool:
    """Whether the second step is another than the first step of a new path from the same x, without noise."""
    times = sde.time(as_time(LEAST_RHO) * torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).clamp(min=sde.t_min)
    x, denoise = quantiles(sde, times[0]), LINE.denoiser(sde)

    def silence(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)

    first, second = path(sampler, sde, denoise, x, times, silence)
    anew = path(sampler, sde, denoise, first, times[1:], silence)[-1]
    return float((second - anew).abs().max()) > 1e-9


def shortened(sde: SDE, n: int) -> Tensor:
    """Karras et al.'s grid, its last step cut into one of three quarters and one of a quarter, in log rho.

    A ratio of two steps' lengths that is upside down makes errors that cancel along a path, even an uneven one.
    """
    times = karras(sde, n)
    long, short = sde.rho(times[-2:]).log()
    return torch.cat([times[:-1], sde.time((0.25 * long + 0.75 * short).exp())[None], times[-1:]])


def last_step(sampler: Sampler, sde: SDE, grid: Callable[[SDE, int], Tensor]) -> Finding:
    """The last step of a path, against the exact flow from where it starts: one order more than the global error's."""
    x, denoise, declared = quantiles(sde, sde.t_max), LINE.denoiser(sde), sampler.order or 0

    def error(n: int) -> float:
        times = grid(sde, n)
        before, after = path(sampler, sde, denoise, x, times)[-2:]
        return float((after - flow(sde, before, times[-2], times[-1])).abs().max())

    steps, errors = refined((20, 40, 80, 160, 320), error, declared + 0.6)
    measured = slopes(steps, errors)[-1]
    cause = (
        f"the step that ends at t_min is of order {max(round(measured) - 1, 0)}: it drops a correction, or takes its "
        "coefficients at the wrong time"
    )
    return _found(measured, declared + 0.6, errors, cause, steps)


def _found(measured: float, needed: float, errors: list[float], cause: str, steps: list[int]) -> Finding:
    passed = measured >= needed or errors[-1] < FLOOR
    curve: Any = tuple(zip(steps, errors, strict=True))
    return Finding(passed, round(measured, 3), f"at least {needed:g}", cause, curve)
