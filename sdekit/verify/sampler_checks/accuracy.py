"""Checks of a sampler's accuracy against closed forms: order, moments, and the distribution of the samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from itertools import pairwise

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.processes import SDE, VP, FlowCoordinates, as_time
from sdekit.sampling import Sampler, karras, log_snr, uniform
from sdekit.verify.common.check_results import Check, Finding, at_most, skip
from sdekit.verify.common.problems import (
    ERROR_FLOOR,
    MIXTURE_1D,
    MIXTURE_2D,
    AffineMap,
    OtherClock,
    energy_distance,
    exact_quantiles,
    inner_grid,
    mean_distance,
    measured_orders,
    refine,
    run_sampler,
    uneven_grid,
    with_eta,
)

STEPS = (20, 40, 80, 160, 320)
NOT_AFFINE = "the step is not affine in x and its draws; the check marginals measures the sampler instead"
MakeGrid = Callable[[SDE, int], Tensor]


def checks(sampler: Sampler, trials: Mapping[str, SDE], *, quick: bool) -> Iterator[Check]:
    """Yield every check of the sampler's accuracy.

    Arguments:
        sampler: Sampler.
        trials: Processes, by name.
        quick: Measure with fewer samples.
    """
    grids: dict[str, tuple[SDE, MakeGrid]] = {name: (sde, karras) for name, sde in trials.items()}
    grids["vp, uneven steps"] = trials["vp"], uneven_grid
    grids["vp, inner times"] = VP(), inner_grid
    if not quick:
        grids["vp with another clock, uniform steps"] = OtherClock(), uniform
    for name, (sde, grid) in grids.items():
        if not sampler.stochastic and sampler.order is not None:
            yield Check(f"order[{name}]", "|x_n - x(t_min)| = O(n^-order)", partial(order, sampler, sde, grid))
        elif not sampler.stochastic:
            yield Check(f"flow[{name}]", "dx/dt = f x - g^2 score / 2", partial(flow, sampler, sde, grid))
    law = "x_i = x(t_i) at every time t_i of the grid"
    for name in () if sampler.stochastic else ("rectified-flow",) if quick else trials:
        yield Check(f"on the way[{name}]", law, partial(on_the_way, sampler, trials[name]))
    if not (sampler.stochastic and (sampler.requires_single_sample or sampler.calls_per_step is None)):
        law = "error of x (if stochastic: of mean and std) for Gaussian data of any size, divided by it, = O(n^-order)"
        yield Check("scale[vp, narrow data]", law, partial(scale, sampler, VP(), 0.02))
        yield Check("scale[rectified-flow, wide data]", law, partial(scale, sampler, trials["rectified-flow"], 10.0))
    if sampler.stochastic and sampler.order is not None and not sampler.requires_single_sample:
        law = "error of the mean and std of Gaussian data at t_min = O(n^-order)"
        for name, (sde, grid) in grids.items():
            if grid is not uneven_grid:
                chosen = None if grid is karras else grid
                yield Check(f"weak order[{name}]", law, partial(weak_order, sampler, sde, chosen))
        for value, half in with_eta(sampler, 0.5).items():
            yield Check(f"weak order[vp, {value}]", law, partial(weak_order, half, trials["vp"], None))
    for name in () if not sampler.stochastic else ("vp",) if quick else trials:
        law = "E[x_t] = alpha m, Cov[x_t] = alpha^2 C + sigma^2"
        inner = ", inner times" if name == "ve" else ""
        yield Check(f"marginals[{name}{inner}]", law, partial(marginals, sampler, trials[name], bool(inner)))


def order(sampler: Sampler, sde: SDE, grid: MakeGrid) -> Finding:
    """Check that the error at t_min falls as n^-order, on quantiles of a mixture in one dimension."""
    denoise, declared = MIXTURE_1D.denoiser(sde), sampler.order or 0
    x, exact = (exact_quantiles(sde, t) for t in grid(sde, 2)[[0, -1]])

    def error(n: int) -> float:
        return float((run_sampler(sampler, sde, denoise, x, grid(sde, n))[-1] - exact).abs().max())

    if grid is inner_grid:
        declared = min(declared, 2)  # a multistep method starts with steps of lower order, whose error remains
    elif grid is uniform:
        declared = min(declared, 3)  # higher orders need more steps than are measured
    return _compare_order(declared, *refine(STEPS, error, declared - 0.3), slack=0.3)


def _compare_order(
    declared: int, steps: list[int], errors: list[float], *, slack: float, largest: float = 0.1
) -> Finding:
    """Compare the measured order with the declared one, and require a last error of at most `largest`."""
    measured = measured_orders(steps, errors)[-1]
    exact = errors[-1] < ERROR_FLOOR
    if errors[-1] > largest or measured < 0.3:
        cause = (
            f"the sampler does not converge to the exact solution (error {errors[-1]:.2g}): "
            "a coefficient of the step is wrong"
        )
    else:
        cause = (
            f"the sampler converges with a lower order than the declared order {declared}: a correction is missing or "
            "takes its coefficients at the wrong time"
        )
    return Finding(
        (exact or measured >= declared - slack) and errors[-1] <= largest,
        round(measured, 3),
        f"at least {declared - slack:g} (declared {declared})",
        cause,
        tuple(zip(steps, errors, strict=True)),
        margin=None if exact else measured / (declared - slack) - 1,
    )


def on_the_way(sampler: Sampler, sde: SDE) -> Finding:
    """Check that x is close to the exact flow in two dimensions at every time of the grid, in std of x_t."""
    n = 8 if sampler.calls_per_step is None else 160 if sampler.order == 1 else 40
    times = karras(sde, n)
    exact = _flow_in_2d(sde, n)
    rows = exact[0].split(1 if sampler.requires_single_sample else len(exact[0]))
    runs = [torch.stack(run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), row, times)) for row in rows]
    std = (sde.alpha(times[1:]) ** 2 + sde.sigma(times[1:]) ** 2).sqrt()
    error = (torch.cat(runs, 1) - exact[1:]).abs().amax((1, 2)) / std
    t = float(times[1:][error.argmax()])
    cause = f"the x yielded for t = {t:.3g} is not the solution at that time: step along the given times"
    return at_most(float(error.max()), 0.05, cause, "in standard deviations, ")


@lru_cache(maxsize=64)  # the result is the same for every sampler
def _flow_in_2d(sde: SDE, n: int) -> Tensor:
    """Return eight paths of the probability flow of MIXTURE_2D at the times karras(sde, n), (n + 1, 8, 2).

    The classical Runge-Kutta method with several steps from time to time solves the flow in finite coordinates.
    """
    flow, parts = FlowCoordinates(sde), max(320 // n, 1)
    field = partial(flow.field, MIXTURE_2D.denoiser(sde))
    times = karras(sde, n)
    y = MIXTURE_2D.sample(8, 3, sde, times[0]) / flow.scale(times[0])
    path = [y]
    for t, s in pairwise(times):
        h = (flow.r(s) - flow.r(t)) / parts
        for i in range(parts):
            r = flow.r(t) + i * h
            k1 = field(r, y)
            k2 = field(r + h / 2, y + h / 2 * k1)
            k3 = field(r + h / 2, y + h / 2 * k2)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + field(r + h, y + h * k3))
        path.append(y)
    paths: Tensor = torch.stack(path) * flow.scale(times)[:, None, None]
    return paths


def flow(sampler: Sampler, sde: SDE, grid: MakeGrid) -> Finding:
    """Check that a deterministic method without an order, such as an adaptive one, is close to the exact flow."""

    def error(n: int) -> float:
        times = grid(sde, n)
        rows = exact_quantiles(sde, times[0]).split(1 if sampler.requires_single_sample else 7)
        ends = [run_sampler(sampler, sde, MIXTURE_1D.denoiser(sde), row, times)[-1] for row in rows]
        return float((torch.cat(ends) - exact_quantiles(sde, times[-1])).abs().max())

    n = 10 if sampler.calls_per_step is None else 100
    cause = "the sampler does not follow the probability flow: check its velocity and tolerance"
    finding = at_most(error(n), 0.02, cause)
    if finding.passed:
        return finding
    measured = measured_orders((2 * n, 4 * n), (error(2 * n), error(4 * n)))[0]
    if measured < 0.7:
        return finding
    order = round(measured)
    cause = f"the error falls as n^-{measured:.2g}: declare order = {order}, then the check order[...] measures it"
    return finding._replace(cause=cause)


def scale(sampler: Sampler, sde: SDE, size: float) -> Finding:
    """Check that Gaussian data of another size are exact in the limit: narrow ones down to rho = 0.001, or wide ones.

    Narrow data are measured from an inner time on, with equal steps in log rho.
    """
    first = min(float(sde.rho(as_time(sde.t_max))), 50.0) if size > 1 else 0.5
    low = float(sde.rho(as_time(sde.t_min)))

    def error(n: int) -> float:
        times = sde.time(torch.logspace(math.log10(first), math.log10(low), n + 1, dtype=torch.float64))
        times[-1] = sde.t_min
        if sampler.stochastic:
            return AffineMap(sampler, sde, times, size).moments_error(sde, times)
        mean, std = size * AffineMap.MEAN, size * AffineMap.STD
        z = torch.linspace(-2, 2, 3, dtype=torch.float64)[:, None]
        alpha, sigma = (f(times[[0, -1]])[:, None, None] for f in (sde.alpha, sde.sigma))
        x, exact = alpha * mean + (alpha**2 * std**2 + sigma**2).sqrt() * z
        denoise = GaussianMixture(mean[None], std[None]).denoiser(sde)
        rows = x.split(1 if sampler.requires_single_sample else len(x))
        ends = torch.cat([run_sampler(sampler, sde, denoise, row, times)[-1] for row in rows])
        return float((ends - exact).abs().max()) / size

    if sampler.stochastic and not _is_affine(sampler, sde):
        return skip(NOT_AFFINE)
    if sampler.calls_per_step is None or sampler.order is None:
        measured = error(10 if sampler.calls_per_step is None else 320)
        cause = "the result is wrong for data of this size: use no absolute thresholds of x or sigma"
        return at_most(measured, 0.1, cause)
    order = min(sampler.order, 2)  # a multistep method starts with steps of lower order, whose error remains
    return _compare_order(order, *refine(STEPS, error, order - 0.3), slack=0.3, largest=0.3)


def weak_order(sampler: Sampler, sde: SDE, grid: MakeGrid | None) -> Finding:
    """Check that the error of the mean and standard deviation of Gaussian data falls as n^-order.

    Both are propagated exactly, without Monte Carlo error.
    """
    if not _is_affine(sampler, sde):
        return skip(NOT_AFFINE)
    declared = sampler.order or 0

    def error(n: int) -> float:
        # Equal steps in t need the fewest steps to show the order, unless rho grows exponentially in t.
        times = (grid or (log_snr if float(sde.rho(as_time(sde.t_max))) < 100 else uniform))(sde, n)
        return AffineMap(sampler, sde, times).moments_error(sde, times)

    return _compare_order(declared, *refine(STEPS, error, declared - 0.3), slack=0.3)


def _is_affine(sampler: Sampler, sde: SDE) -> bool:
    """Return whether the steps of a sampler are affine in x and its draws for Gaussian data."""
    return AffineMap(sampler, sde, uniform(sde, 5)).error < 1e-6


def marginals(sampler: Sampler, sde: SDE, inner: bool) -> Finding:
    """Check that the mean, covariance and distribution are exact at three times if the initial samples are exact.

    Energy distances measure the error of the distribution. Each error is divided by the accepted error, which covers
    Monte Carlo error and the bias of a finite number of steps.
    """
    n = 64 if sampler.requires_single_sample else 1000
    times = (inner_grid if inner else karras)(sde, 40 if sampler.calls_per_step is None else 120)
    generator = torch.Generator().manual_seed(1)

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        return torch.randn(1 if sampler.requires_single_sample else n, 2, generator=generator)

    x = _start(sde, times[0], n).float()
    runs = [
        run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), rows, times, noise)
        for rows in x.split(1 if sampler.requires_single_sample else n)
    ]
    worst, statistic = max(
        _deviation(torch.cat([run[i] for run in runs]).double(), sde, times[i + 1])
        for i in (len(times) * 3 // 8 - 1, len(times) * 6 // 8 - 1, len(times) - 2)
    )
    cause = f"{statistic} of the samples is wrong: check the drift and the noise of a step"
    return at_most(worst, 1.0, cause, "in units of the accepted error, ")


@lru_cache(maxsize=16)
def _start(sde: SDE, t: Tensor, n: int) -> Tensor:
    """Return n exact samples of p_t; for a small n the draw of 40 that is closest to 1000 others."""
    if n > 64:
        return MIXTURE_2D.sample(n, 3, sde, t)
    exact = MIXTURE_2D.sample(1000, 11, sde, t)
    draws = (MIXTURE_2D.sample(n, seed, sde, t) for seed in range(20, 60))
    return min(draws, key=lambda x: 2 * mean_distance(x, exact) - mean_distance(x, x))


def _deviation(x: Tensor, sde: SDE, t: Tensor) -> tuple[float, str]:
    """Return the largest deviation of samples x (n, 2) from p_t, and the name of the statistic that deviates."""
    weights, means, n = MIXTURE_2D.log_weights.exp(), MIXTURE_2D.means, len(x)
    alpha, sigma, m = sde.alpha(t), sde.sigma(t), weights @ means
    spread = torch.einsum("k,ki,kj->ij", weights, means - m, means - m)
    covariance = alpha**2 * (spread + torch.diag(weights @ MIXTURE_2D.variances)) + sigma**2 * torch.eye(2)
    std = covariance.diagonal().sqrt()
    mean_error = (x.mean(0) - alpha * m).abs() / std / (4 / n**0.5 + 0.03)
    covariance_error = (x.T.cov() - covariance).abs() / torch.outer(std, std) / (4 * (2 / n) ** 0.5 + 0.06)
    exact, own_distance, accepted = _reference(sde, float(t), n)
    energy = 2 * mean_distance(x, exact) - mean_distance(x, x) - own_distance
    at = f" at t = {float(t):.3g}"
    return max(
        (float(mean_error.max()), "the mean" + at),
        (float(covariance_error.max()), "the covariance" + at),
        (energy / accepted, "the energy distance" + at),
    )


@lru_cache(maxsize=64)  # the result is the same for every sampler
def _reference(sde: SDE, t: float, n: int) -> tuple[Tensor, float, float]:
    """Return exact samples of p_t, their mean distance E|x - x'|, and the accepted energy distance of n samples.

    The accepted distance is the energy distance of samples that are stretched by 20%.
    """
    exact, other = (MIXTURE_2D.sample(max(n, 1000), seed, sde, t) for seed in (11, 12))
    stretched = exact.mean(0) + 1.2 * (exact - exact.mean(0))
    return exact, mean_distance(exact, exact), energy_distance(other, stretched) + 4 / n
