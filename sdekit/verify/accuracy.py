"""Samplers against closed forms: order, the last step by itself, moments, and the law of the samples on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.grids import karras, log_snr, uniform
from sdekit.sampling import Sampler
from sdekit.sde import SDE, as_time

from .exact import LINE, PLANE, Affine, energy_distance, flow, path, processes, quantiles, slopes, uneven
from .report import Check, Finding, at_most

STEPS = (20, 40, 80, 160, 320)
FLOOR = 1e-10  # of an error in float64: below it, nothing is left to measure
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
    for name, sde in trials.items():
        if sampler.order is not None and not sampler.stochastic:
            law = "|x_s - flow(x_t)| = O(h^(order + 1)), of the last step"
            yield Check(f"last step[{name}]", law, partial(last_step, sampler, sde))
        if sampler.order is not None and sampler.stochastic and not sampler.alone:
            law = "mean and std of Gaussian data at t_min, O(n^-order)"
            yield Check(f"weak order[{name}]", law, partial(weak_order, sampler, sde))
        if name == "vp" or not quick:
            law = "E[x_t] = alpha m, Cov[x_t] = alpha^2 C + sigma^2"
            yield Check(f"marginals[{name}]", law, partial(marginals, sampler, sde, 1000 if quick else 2000))
    if "eta" in {f.name for f in fields(sampler)}:
        law = "std of the fresh noise is proportional to eta (Song, Meng & Ermon 2021, eq. 16)"
        yield Check("eta", law, partial(eta, sampler, trials["vp"]))


def refined(
    declared: int, error: Callable[[int], float], needed: float, start: int = 0
) -> tuple[list[int], list[float]]:
    """Errors at more and more steps, until the measured order is what is needed, or there are no more."""
    steps: list[int] = []
    errors: list[float] = []
    for n in STEPS[start:]:
        steps.append(n)
        errors.append(error(n))
        if len(steps) > 2 and (slopes(steps, errors)[-1] >= needed or errors[-1] < FLOOR):
            break
    return steps, errors


def order(sampler: Sampler, sde: SDE, grid: Make) -> Finding:
    """The global error at t_min, on quantiles of LINE, falls as n^-order."""
    x, exact = quantiles(sde, sde.t_max), quantiles(sde, sde.t_min)
    denoise, declared = LINE.denoiser(sde), sampler.order or 0

    def error(n: int) -> float:
        return float((path(sampler, sde, denoise, x, grid(sde, n))[-1] - exact).abs().max())

    return _judged(declared, *refined(declared, error, declared - 0.3), slack=0.3)


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


def last_step(sampler: Sampler, sde: SDE) -> Finding:
    """The last step alone, against the exact flow from where it starts: one order more than the global error's."""
    x, denoise, declared = quantiles(sde, sde.t_max), LINE.denoiser(sde), sampler.order or 0

    def error(n: int) -> float:
        times = karras(sde, n)
        before, after = path(sampler, sde, denoise, x, times)[-2:]
        return float((after - flow(sde, before, times[-2], times[-1])).abs().max())

    steps, errors = refined(declared, error, declared + 0.6)
    measured = slopes(steps, errors)[-1]
    cause = (
        f"the step that ends at t_min is of order {max(round(measured) - 1, 0)}: it drops a correction, or takes its "
        "coefficients at the wrong time"
    )
    passed = measured >= declared + 0.6 or errors[-1] < FLOOR
    return Finding(
        passed, round(measured, 3), f"at least {declared + 0.6:g}", cause, tuple(zip(steps, errors, strict=True))
    )


def accuracy(sampler: Sampler, sde: SDE, grid: Make) -> Finding:
    """A deterministic method without an order, such as an adaptive one: near to the exact flow."""
    x, n = quantiles(sde, sde.t_max), 100 if sampler.calls is not None else 10
    rows = x.split(1 if sampler.alone else len(x))
    reached = torch.cat([path(sampler, sde, LINE.denoiser(sde), row, grid(sde, n))[-1] for row in rows])
    error = float((reached - quantiles(sde, sde.t_min)).abs().max())
    return at_most(error, 0.02, "it does not follow the probability flow")


def weak_order(sampler: Sampler, sde: SDE) -> Finding:
    """Mean and standard deviation of Gaussian data, propagated exactly: their error falls as n^-order."""
    affine = Affine(sampler, sde, uniform(sde, 5))
    if affine.error > 1e-6:
        return Finding(True, "not affine", "an affine step, to measure it without Monte-Carlo; see marginals")
    declared = sampler.order or 0

    def error(n: int) -> float:
        # equal steps in t are where the order shows soonest, unless rho grows exponentially in t
        times = (log_snr if float(sde.rho(as_time(sde.t_max))) < 100 else uniform)(sde, n)
        return Affine(sampler, sde, times).moments_error(sde, times)

    return _judged(declared, *refined(declared, error, declared - 0.3), slack=0.3)


def marginals(sampler: Sampler, sde: SDE, n: int) -> Finding:
    """At t_min and twice before: mean, covariance and energy distance of the samples, from exact ones at t_max.

    Measured in units of what Monte-Carlo error and the bias of so many steps allow: 1 is the largest accepted.
    """
    n = 64 if sampler.alone else n
    times = karras(sde, 40 if sampler.calls is None else 120)
    generator = torch.Generator().manual_seed(1)

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        return torch.randn(1 if sampler.alone else n, 2, generator=generator)

    x = PLANE.sample(n, 3, sde, as_time(sde.t_max)).float()
    runs = [path(sampler, sde, PLANE.denoiser(sde), rows, times, noise) for rows in x.split(1 if sampler.alone else n)]
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
    exact, other = (PLANE.sample(n, seed, sde, t) for seed in (11, 12))
    stretched = exact.mean(0) + 1.2 * (exact - exact.mean(0))  # what would just be noticed
    scale = energy_distance(other, stretched) + 4 / n
    at = f" at t = {float(t):.3g}"
    return max(
        (float(mean_off.max()), "the mean" + at),
        (float(covariance_off.max()), "the covariance" + at),
        (energy_distance(x, exact) / scale, "the energy distance" + at),
    )


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
    cause = f"the noise scales as {nearest}" if share else "at eta = 0 noise is left"
    return Finding(abs(shares[share] - share) < 0.02, shares[share], expected, cause)
