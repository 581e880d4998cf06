"""Checks of processes: consistency of f and g with alpha and sigma, the inverse of rho, the prior, broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sdekit.processes import SDE, as_time
from sdekit.verify.common.check_results import Check, Finding, at_most
from sdekit.verify.common.literature import published_coefficients

Scale = Callable[[Tensor], Tensor]


def checks(sde: SDE, *, quick: bool = False) -> list[Check]:
    """Return all checks of one process.

    Arguments:
        sde: Process.
        quick: Has no effect, because all checks are fast.
    """
    is_published = published_coefficients(sde, as_time((sde.t_min + sde.t_max) / 2)) is not None
    law = "f and g^2 equal the published coefficients"
    published_check = [Check("published", law, partial(published, sde))] if is_published else []
    return [
        Check("scales", "0 <= alpha <= 1, sigma > 0; float64 of the shape of t", partial(scales, sde)),
        Check("f", "f = d/dt log alpha", partial(drift, sde)),
        Check("g", "g^2 = d sigma^2 / dt - 2 f sigma^2", partial(diffusion, sde)),
        Check("variance", "sigma^2 = alpha^2 (rho(t_min)^2 + int g^2 / alpha^2 dt)", partial(variance, sde)),
        *published_check,
        Check("time", "time(rho(t)) = t", partial(inverse, sde)),
        Check("monotone", "rho increases with t", partial(monotone, sde)),
        Check("prior", "x at t_max is N(0, sigma(t_max)^2); log-SNR(t_max) < -4", partial(prior, sde)),
        Check("conversions", "x_t = alpha x_0 + sigma eps, score = -eps / sigma", partial(conversions, sde)),
        Check(
            "broadcast", "perturb(x, (t_1, ..., t_B))^i = perturb(x^i, t_i); eps, score too", partial(broadcast, sde)
        ),
    ]


def interior_times(sde: SDE, n: int = 101) -> Tensor:
    """Return n times over the whole range, different from its ends and from the knots of any table."""
    fractions = (torch.arange(n, dtype=torch.float64) + 0.3819660113) / n
    return sde.t_min + fractions * (sde.t_max - sde.t_min)


def slope(scale: Scale, t: Tensor, sde: SDE) -> Tensor:
    """Return d scale / dt by central differences, with the shape of t."""
    h = 1e-6 * torch.minimum(t - sde.t_min, sde.t_max - t)
    return (scale(t + h) - scale(t - h)) / (2 * h)


def _relative_error(measured: Tensor, expected: Tensor, floor: float = 1e-9) -> Tensor:
    """Return |measured - expected| / max(|expected|, floor)."""
    return (measured - expected).abs() / expected.abs().clamp(min=floor)


def _ratio(measured: Tensor, expected: Tensor) -> str:
    """Return the median of measured / expected as text, for example "2 times"."""
    return f"{float((measured / expected).median()):.3g} times"


def scales(sde: SDE) -> Finding:
    """Check that alpha, sigma, f and g keep the shape and dtype of t, and that alpha and sigma are in range."""
    t = torch.linspace(sde.t_min, sde.t_max, 101, dtype=torch.float64)
    for name, scale in (("alpha", sde.alpha), ("sigma", sde.sigma), ("f", sde.f), ("g", sde.g)):
        for u in (t, t[50], as_time(sde.t_min)):
            value = scale(u)
            if value.dtype != torch.float64 or value.shape != u.shape:
                measured = f"{name}: {tuple(value.shape)} {value.dtype}"
                cause = f"{name} changes the dtype or shape of t: compute it in float64, elementwise"
                return Finding(False, measured, f"{tuple(u.shape)} torch.float64", cause)
            if name in "fg":
                continue  # other checks measure their values, which may be infinite if alpha is 0
            low, high = float(value.min()), float(value.max())
            if (
                not value.isfinite().all()
                or low < (1e-30 if name == "sigma" else -1e-12)
                or (name == "alpha" and high > 1 + 1e-9)
            ):
                cause = f"{name} is outside its range: correct the schedule or t_min and t_max"
                return Finding(False, f"{name}: {low:.3g} to {high:.3g}", "alpha in [0, 1], sigma > 0", cause)
    return Finding(True, "both", "alpha in [0, 1], sigma > 0, float64")


def drift(sde: SDE) -> Finding:
    """Check that f equals d log alpha / dt, computed by finite differences."""
    t = interior_times(sde)
    expected = slope(lambda u: sde.alpha(u).log(), t, sde)
    error = float(_relative_error(sde.f(t), expected, 1e-3).max())
    cause = f"f is {_ratio(sde.f(t), expected)} d/dt log alpha: correct f or alpha"
    return at_most(error, 1e-4, cause, "relative error ")


def diffusion(sde: SDE) -> Finding:
    """Check that g^2 equals d sigma^2 / dt - 2 f sigma^2, computed by finite differences."""
    t = interior_times(sde)
    rate = slope(lambda u: sde.alpha(u).log(), t, sde)
    expected = slope(lambda u: sde.sigma(u) ** 2, t, sde) - 2 * rate * sde.sigma(t) ** 2
    error = float(_relative_error(sde.g(t) ** 2, expected).max())
    cause = f"g^2 is {_ratio(sde.g(t) ** 2, expected)} the value that alpha and sigma imply: correct g or sigma"
    return at_most(error, 1e-4, cause, "relative error ")


def variance(sde: SDE) -> Finding:
    """Check that sigma agrees with the integral of d rho^2 / dt = g^2 / alpha^2 from t_min, for rho of at most 30."""
    low, high = float(sde.rho(as_time(sde.t_min))), min(float(sde.rho(as_time(sde.t_max))), 30.0)
    t = sde.time(torch.logspace(0, 1, 4001, base=high / low, dtype=torch.float64) * low)
    t = t.clamp(sde.t_min, sde.t_max)
    middle = (t[1:] + t[:-1]) / 2
    integral = (sde.g(middle) ** 2 / sde.alpha(middle) ** 2 * t.diff()).cumsum(0)
    expected = sde.alpha(t[1:]) * (sde.rho(t[0]) ** 2 + integral).sqrt()
    error = float(_relative_error(sde.sigma(t[1:]), expected).max())
    cause = f"sigma is {_ratio(sde.sigma(t[1:]), expected)} the standard deviation that g implies: correct g or sigma"
    return at_most(error, 5e-3, cause, "relative error ")


def published(sde: SDE) -> Finding:
    """Check that f and g^2 equal the coefficients in the paper."""
    t = interior_times(sde)
    coefficients = published_coefficients(sde, t)
    assert coefficients is not None
    f, g2 = coefficients
    ratio = _ratio(sde.g(t) ** 2, g2)
    errors = {
        f"g^2 is {ratio} the published value: correct sigma or g": _relative_error(sde.g(t) ** 2, g2),
        "f is not the published one: correct alpha": _relative_error(sde.f(t), f, 1e-3),
    }
    cause = max(errors, key=lambda cause: float(errors[cause].max()))
    return at_most(float(errors[cause].max()), 1e-4, cause, "relative error ")


def inverse(sde: SDE) -> Finding:
    """Check that time is the inverse of rho."""
    t = interior_times(sde, 401)
    error = (sde.time(sde.rho(t)) - t).abs() / t.abs().clamp(min=1e-6)
    cause = f"time is not the inverse of rho (largest error at t = {float(t[error.argmax()]):.4g}): correct time()"
    return at_most(float(error.max()), 1e-6, cause, "relative error ")


def monotone(sde: SDE) -> Finding:
    """Check that log rho increases between neighbouring times."""
    t = torch.linspace(sde.t_min, sde.t_max, 1001, dtype=torch.float64)
    smallest = float(sde.rho(t).clamp(1e-300, 1e300).log().diff().min())
    cause = "rho decreases somewhere: correct alpha, sigma, t_min or t_max"
    return Finding(smallest > 0, smallest, "above 0 between neighbours", cause)


def prior(sde: SDE) -> Finding:
    """Check that prior and prior_log_prob agree with N(0, sigma(t_max)^2), and that the SNR is small at t_max."""
    z = torch.linspace(-2, 2, 6, dtype=torch.float64).view(2, 3)
    sigma = sde.sigma(as_time(sde.t_max))
    x = sde.prior(z)
    error = float(_relative_error(x, sigma * z).max())
    log_prob = torch.distributions.Normal(0.0, sigma).log_prob(x).sum(1)
    error = max(error, float(_relative_error(sde.prior_log_prob(x), log_prob).max()))
    if error > 1e-9:
        cause = "the prior is not N(0, sigma(t_max)^2): correct prior() or prior_log_prob()"
        return at_most(error, 1e-9, cause, "relative error ")
    signal = float(1 / sde.rho(as_time(sde.t_max)))
    cause = "x at t_max still depends on the data, so no prior fits it: add more noise, or increase t_max"
    return at_most(signal, 0.135, cause, "alpha / sigma at t_max ")


def conversions(sde: SDE) -> Finding:
    """Check that perturb, eps and score, which a process may override, agree with their definitions in float64."""
    generator, t = torch.Generator().manual_seed(0), interior_times(sde)
    x0, eps = torch.randn(2, len(t), 3, generator=generator, dtype=torch.float64)
    x, sigma = sde.alpha(t)[:, None] * x0 + sde.sigma(t)[:, None] * eps, sde.sigma(t)[:, None]
    pairs = {
        "perturb": (sde.perturb(x0, t, eps), x),
        "eps": (sde.eps(x, x0, t), eps),
        "score": (sigma * sde.score(x, x0, t), -eps),
    }
    errors = {name: float((value - exact).abs().max() / exact.abs().max()) for name, (value, exact) in pairs.items()}
    name = max(errors, key=lambda name: errors[name])
    cause = f"{name} is not the value that alpha and sigma imply: correct {name}()"
    return at_most(errors[name], 1e-9, cause, "relative error ")


def broadcast(sde: SDE) -> Finding:
    """Check that perturb, eps and score of a batch of vectors or images equal the results for each row alone."""
    methods: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "perturb": lambda t, x0, x: sde.perturb(x0, t, x),
        "eps": lambda t, x0, x: sde.eps(x, x0, t),
        "score": lambda t, x0, x: sde.score(x, x0, t),
    }
    for shape in ((4, 3), (4, 1, 5, 4)):
        for dtype in (torch.float32, torch.float64):
            for name, method in methods.items():
                finding = _compare_rows(sde, name, method, torch.ones(shape, dtype=dtype))
                if not finding.passed:
                    return finding
    return Finding(True, "equal", "the result for each row alone")


def _compare_rows(sde: SDE, name: str, method: Callable[[Tensor, Tensor, Tensor], Tensor], like: Tensor) -> Finding:
    """Compare a method on a batch with the same method on each row."""
    t, generator = interior_times(sde, len(like)), torch.Generator().manual_seed(0)
    x0, x = torch.randn(2, *like.shape, generator=generator, dtype=like.dtype)
    whole = method(t, x0, x)
    rows = torch.cat([method(u, x0[i : i + 1], x[i : i + 1]) for i, u in enumerate(t)])
    if whole.dtype != x.dtype or whole.shape != x.shape:
        measured = f"{name}: {tuple(whole.shape)} {whole.dtype}"
        cause = f"{name} changes the shape or dtype of x: return a tensor like x"
        return Finding(False, measured, f"{tuple(x.shape)} {x.dtype}", cause)
    error = float((whole - rows).abs().max() / (1 + rows.abs().max()))
    cause = f"{name} broadcasts t along the wrong axis: use broadcast(t, x)"
    return at_most(error, 1e-4, cause, "relative error ")
