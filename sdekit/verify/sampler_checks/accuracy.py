"""Samplers against closed forms: order, moments, and the law of the samples on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, as_time
from sdekit.sampling import Sampler, karras, log_snr, uniform
from sdekit.verify.common.problems import (
    FLOOR,
    LINE,
    PLANE,
    Affine,
    energy_distance,
    mean_distance,
    path,
    processes,
    quantiles,
    refined,
    slopes,
    uneven,
)
from sdekit.verify.common.report import Check, Finding, at_most, skip

STEPS = (20, 40, 80, 160, 320)
Make = Callable[[SDE, int], Tensor]


def checks(sampler: Sampler, *, quick: bool) -> Iterator[Check]:
    """Every check of what the sampler computes."""
    trials = processes(quick=quick)
    grids: dict[str, tuple[SDE, Make]] = {name: (sde, karras) for name, sde in trials.items()}
    grids["vp, uneven steps"] = trials["vp"], uneven
    if not quick:
        grids["vp, uniform steps"] = trials["vp"], uniform
    for name, (sde, grid) in grids.items():
        if not sampler.stochastic and sampler.order is not None:
            yield Check(f"order[{name}]", "|x_n - x(t_min)| = O(n^-order)", partial(order, sampler, sde, grid))
        elif not sampler.stochastic:
            yield Check(f"flow[{name}]", "dx/dt = f x - g^2 score / 2", partial(accuracy, sampler, sde, grid))
    for name in ("rectified-flow",) if quick else ("rectified-flow", "ve"):
        if not sampler.stochastic:
            law = "x_i = x(t_i), at each time of the grid"
            yield Check(f"on the way[{name}]", law, partial(on_the_way, sampler, trials[name]))
    for name, sde in trials.items():
        if sampler.order is not None and sampler.stochastic and not sampler.requires_single_sample:
            law = "mean and std of Gaussian data at t_min, O(n^-order)"
            yield Check(f"weak order[{name}]", law, partial(weak_order, sampler, sde))
        if name == "vp" or not quick:
            law = "E[x_t] = alpha m, Cov[x_t] = alpha^2 C + sigma^2"
            yield Check(f"marginals[{name}]", law, partial(marginals, sampler, sde, 1000 if quick else 2000))
    if "eta" in {f.name for f in fields(sampler)}:
        law = "std of the fresh noise is proportional to eta (Song, Meng & Ermon 2021, eq. 16)"
        yield Check("eta", law, partial(eta, sampler, trials["vp"]))


def order(sampler: Sampler, sde: SDE, grid: Make) -> Finding:
    """The global error at t_min, on quantiles of LINE, falls as n^-order."""
    x, exact = quantiles(sde, sde.t_max), quantiles(sde, sde.t_min)
    denoise, declared = LINE.denoiser(sde), sampler.order or 0

    def error(n: int) -> float:
        return float((path(sampler, sde, denoise, x, grid(sde, n))[-1] - exact).abs().max())

    return _judged(declared, *refined(STEPS, error, declared - 0.3), slack=0.3)


def _judged(declared: int, steps: list[int], errors: list[float], *, slack: float) -> Finding:
    measured = slopes(steps, errors)[-1]
    converged = errors[-1] < FLOOR or measured >= declared - slack
    if errors[-1] > 0.1 or measured < 0.3:
        cause = (
            f"it does not converge to the exact solution (error {errors[-1]:.2g}): a coefficient of the step is wrong"
        )
    else:
        cause = (
            f"it converges, at a lower order than the {declared} it declares: a correction is missing or takes its "
            "coefficients at the wrong time"
        )
    curve = tuple(zip(steps, errors, strict=True))
    passed = converged and errors[-1] <= 0.1
    return Finding(passed, round(measured, 3), f"at least {declared - slack:g} (declared {declared})", cause, curve)


def on_the_way(sampler: Sampler, sde: SDE) -> Finding:
    """Near to the exact flow at all times that were asked for, in units of the standard deviation there."""
    n = 8 if sampler.calls_per_step is None else 160 if sampler.order == 1 else 40
    times, x = karras(sde, n), quantiles(sde, sde.t_max)
    rows = x.split(1 if sampler.requires_single_sample else len(x))
    runs = [torch.stack(path(sampler, sde, LINE.denoiser(sde), row, times)) for row in rows]
    std = (sde.alpha(times[1:]) ** 2 + sde.sigma(times[1:]) ** 2).sqrt()
    off = (torch.cat(runs, 1) - quantiles(sde, times[1:])).abs().amax((1, 2)) / std
    where = float(times[1:][off.argmax()])
    return at_most(float(off.max()), 0.05, f"x at t = {where:.3g} is not x of that time", "in standard deviations, ")


def accuracy(sampler: Sampler, sde: SDE, grid: Make) -> Finding:
    """A deterministic method without an order, such as an adaptive one: near to the exact flow."""
    x, n = quantiles(sde, sde.t_max), 100 if sampler.calls_per_step is not None else 10
    rows = x.split(1 if sampler.requires_single_sample else len(x))
    reached = torch.cat([path(sampler, sde, LINE.denoiser(sde), row, grid(sde, n))[-1] for row in rows])
    error = float((reached - quantiles(sde, sde.t_min)).abs().max())
    return at_most(error, 0.02, "it does not follow the probability flow")


def weak_order(sampler: Sampler, sde: SDE) -> Finding:
    """Mean and standard deviation of Gaussian data, propagated exactly: their error falls as n^-order."""
    affine = Affine(sampler, sde, uniform(sde, 5))
    if affine.error > 1e-6:
        return skip("not affine: its moments take Monte-Carlo, see marginals")
    declared = sampler.order or 0

    def error(n: int) -> float:
        # equal steps in t are where the order shows soonest, unless rho grows exponentially in t
        times = (log_snr if float(sde.rho(as_time(sde.t_max))) < 100 else uniform)(sde, n)
        return Affine(sampler, sde, times).moments_error(sde, times)

    return _judged(declared, *refined(STEPS, error, declared - 0.3), slack=0.3)


def marginals(sampler: Sampler, sde: SDE, n: int) -> Finding:
    """At t_min and twice before: mean, covariance and energy distance of the samples, from exact ones at t_max.

    Measured in units of what Monte-Carlo error and the bias of so many steps allow: 1 is the largest accepted.
    """
    n = 64 if sampler.requires_single_sample else n
    times = karras(sde, 40 if sampler.calls_per_step is None else 120)
    generator = torch.Generator().manual_seed(1)

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        return torch.randn(1 if sampler.requires_single_sample else n, 2, generator=generator)

    x = PLANE.sample(n, 3, sde, as_time(sde.t_max)).float()
    runs = [
        path(sampler, sde, PLANE.denoiser(sde), rows, times, noise)
        for rows in x.split(1 if sampler.requires_single_sample else n)
    ]
    worst, where = max(
        _distance(torch.cat([run[i] for run in runs]).double(), sde, times[i + 1])
        for i in (len(times) * 3 // 8 - 1, len(times) * 6 // 8 - 1, len(times) - 2)
    )
    return at_most(worst, 1.0, f"{where} of the samples is wrong", "in units of the allowed error, ")


def _distance(x: Tensor, sde: SDE, t: Tensor) -> tuple[float, str]:
    """The largest deviation from p_t, and what deviates."""
    weights, means, n = PLANE.log_weights.exp(), PLANE.means, len(x)
    alpha, sigma, m = sde.alpha(t), sde.sigma(t), weights @ means
    spread = torch.einsum("k,ki,kj->ij", weights, means - m, means - m)
    covariance = alpha**2 * (spread + torch.diag(weights @ PLANE.variances)) + sigma**2 * torch.eye(2)
    std = covariance.diagonal().sqrt()
    mean_off = (x.mean(0) - alpha * m).abs() / std / (4 / n**0.5 + 0.03)
    covariance_off = (x.T.cov() - covariance).abs() / torch.outer(std, std) / (4 * (2 / n) ** 0.5 + 0.06)
    exact, own, scale = _reference(sde, float(t), n)
    energy = 2 * mean_distance(x, exact) - mean_distance(x, x) - own
    at = f" at t = {float(t):.3g}"
    return max(
        (float(mean_off.max()), "the mean" + at),
        (float(covariance_off.max()), "the covariance" + at),
        (energy / scale, "the energy distance" + at),
    )


@lru_cache(maxsize=64)  # the same for every sampler
def _reference(sde: SDE, t: float, n: int) -> tuple[Tensor, float, float]:
    """Exact samples (n, 2), their mean distance E|x - x'|, and the energy distance that would just be noticed."""
    exact, other = (PLANE.sample(n, seed, sde, t) for seed in (11, 12))
    stretched = exact.mean(0) + 1.2 * (exact - exact.mean(0))
    return exact, mean_distance(exact, exact), energy_distance(other, stretched) + 4 / n


def eta(sampler: Sampler, sde: SDE) -> Finding:
    """Over one short step: the draw's coefficient at eta, as a share of that at the largest eta."""
    t = sde.time(as_time(1.0))
    times = torch.stack([t, sde.time(as_time(0.98))])

    def coefficient(value: float) -> float:
        draws = Affine(replace(sampler, **{"eta": value}), sde, times).draws
        return float((draws**2).sum(0).sqrt().max()) if len(draws) else 0.0

    try:
        top, whole = 1.0, coefficient(1.0)
    except InputError:
        top, whole = 0.5, coefficient(0.5)
    if not whole:
        return Finding(False, 0.0, "fresh noise in proportion to eta", "eta does not change the noise")
    shares = {share: coefficient(share * top) / whole for share in (0.0, 0.25, 0.5)}
    share = max(shares, key=lambda share: abs(shares[share] - share))
    expected = f"{share:g} (2 %), the share of the std at eta = {share * top:g}"
    powers = {"sqrt(eta)": share**0.5, "eta^2": share**2}
    nearest = min(powers, key=lambda name: abs(powers[name] - shares[share]))
    told = f"scales as {nearest}" if abs(powers[nearest] - shares[share]) < 0.03 else "is not proportional to eta"
    cause = f"the noise {told}" if share else "at eta = 0 noise is left"
    return Finding(abs(shares[share] - share) < 0.02, shares[share], expected, cause)
