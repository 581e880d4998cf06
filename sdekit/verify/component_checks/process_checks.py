"""Processes: f and g against alpha and sigma, the inverse of rho, the prior, broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sdekit.processes import SDE, as_time
from sdekit.verify.common.literature import published_coefficients
from sdekit.verify.common.report import Check, Finding, at_most

Scale = Callable[[Tensor], Tensor]


def checks(sde: SDE, *, quick: bool = False) -> list[Check]:
    """All checks of one process; all are quick."""
    known = published_coefficients(sde, as_time((sde.t_min + sde.t_max) / 2))
    return [
        Check("scales", "0 <= alpha <= 1, sigma > 0, finite; f and g too: float64, shape of t", partial(scales, sde)),
        Check("f", "f = d/dt log alpha", partial(drift, sde)),
        Check("g", "g^2 = d sigma^2 / dt - 2 f sigma^2", partial(diffusion, sde)),
        Check("variance", "sigma^2 = alpha^2 (rho(t_min)^2 + int g^2 / alpha^2 dt)", partial(variance, sde)),
        *([Check("published", "f and g^2 as printed in the paper", partial(printed, sde))] if known else []),
        Check("time", "time(rho(t)) = t", partial(inverse, sde)),
        Check("monotone", "rho increases with t: the SNR falls", partial(monotone, sde)),
        Check("prior", "x at t_max is N(0, sigma(t_max)^2), with log-SNR(t_max) < -4", partial(prior, sde)),
        Check("conversions", "x_t = alpha x_0 + sigma eps, score = -eps / sigma", partial(conversions, sde)),
        Check("broadcast", "t (B,) does to each row of x (B, *) what t () does", partial(broadcast, sde)),
    ]


def inside(sde: SDE, n: int = 101) -> Tensor:
    """Times over the whole range, off the ends and off the knots of any table, (n,)."""
    at = (torch.arange(n, dtype=torch.float64) + 0.3819660113) / n
    return sde.t_min + at * (sde.t_max - sde.t_min)


def slope(scale: Scale, t: Tensor, sde: SDE) -> Tensor:
    """d scale / dt by central differences, shape of t."""
    h = 1e-6 * torch.minimum(t - sde.t_min, sde.t_max - t)
    return (scale(t + h) - scale(t - h)) / (2 * h)


def _off(measured: Tensor, expected: Tensor, floor: float = 1e-9) -> Tensor:
    """Relative error, shape of both."""
    return (measured - expected).abs() / expected.abs().clamp(min=floor)


def _ratio(measured: Tensor, expected: Tensor) -> str:
    """ "2.00 times": what a wrong factor looks like."""
    return f"{float((measured / expected).median()):.3g} times"


def scales(sde: SDE) -> Finding:
    """alpha and sigma on the range, ends included, for t () and (B,); dtype and shape of f and g."""
    t = torch.linspace(sde.t_min, sde.t_max, 101, dtype=torch.float64)
    for name, scale in (("alpha", sde.alpha), ("sigma", sde.sigma), ("f", sde.f), ("g", sde.g)):
        for u in (t, t[50], as_time(sde.t_min)):
            value = scale(u)
            if value.dtype != torch.float64 or value.shape != u.shape:
                got = f"{name}: {tuple(value.shape)} {value.dtype}"
                return Finding(False, got, f"{tuple(u.shape)} torch.float64", f"{name} casts or reshapes its time")
            if name in "fg":
                continue  # they have checks of their own, and may be infinite where alpha is 0
            if (
                not value.isfinite().all()
                or value.min() < (1e-30 if name == "sigma" else -1e-12)
                or (name == "alpha" and value.max() > 1 + 1e-9)
            ):
                span = f"{name}: {float(value.min()):.3g} to {float(value.max()):.3g}"
                return Finding(False, span, "alpha in [0, 1], sigma > 0", f"{name} leaves its range")
    return Finding(True, "both", "alpha in [0, 1], sigma > 0, float64")


def drift(sde: SDE) -> Finding:
    """f against finite differences of log alpha."""
    t = inside(sde)
    expected = slope(lambda u: sde.alpha(u).log(), t, sde)
    worst = float(_off(sde.f(t), expected, 1e-3).max())
    return at_most(worst, 1e-4, f"f is {_ratio(sde.f(t), expected)} d/dt log alpha", "relative error ")


def diffusion(sde: SDE) -> Finding:
    """g^2 against finite differences: what makes sigma^2 the variance of the SDE."""
    t = inside(sde)
    rate = slope(lambda u: sde.alpha(u).log(), t, sde)
    expected = slope(lambda u: sde.sigma(u) ** 2, t, sde) - 2 * rate * sde.sigma(t) ** 2
    worst = float(_off(sde.g(t) ** 2, expected).max())
    cause = f"g^2 is {_ratio(sde.g(t) ** 2, expected)} what alpha and sigma imply"
    return at_most(worst, 1e-4, cause, "relative error ")


def variance(sde: SDE) -> Finding:
    """d(sigma / alpha)^2 / dt = g^2 / alpha^2, integrated from t_min over most of the range."""
    low, high = float(sde.rho(as_time(sde.t_min))), min(float(sde.rho(as_time(sde.t_max))), 30.0)
    t = sde.time(torch.logspace(0, 1, 4001, base=high / low, dtype=torch.float64) * low)
    t = t.clamp(sde.t_min, sde.t_max)
    middle = (t[1:] + t[:-1]) / 2
    grown = (sde.g(middle) ** 2 / sde.alpha(middle) ** 2 * t.diff()).cumsum(0)
    expected = sde.alpha(t[1:]) * (sde.rho(t[0]) ** 2 + grown).sqrt()
    worst = float(_off(sde.sigma(t[1:]), expected).max())
    cause = f"sigma is {_ratio(sde.sigma(t[1:]), expected)} the standard deviation that g leaves: one of them is wrong"
    return at_most(worst, 5e-3, cause, "relative error ")


def printed(sde: SDE) -> Finding:
    """The derived f and g against the coefficients of the paper."""
    t = inside(sde)
    coefficients = published_coefficients(sde, t)
    assert coefficients is not None
    f, g2 = coefficients
    causes = {
        f"g^2 is {_ratio(sde.g(t) ** 2, g2)} the published one: sigma or g is another process's": _off(
            sde.g(t) ** 2, g2
        ),
        "f is not the published one: alpha is another process's": _off(sde.f(t), f, 1e-3),
    }
    cause = max(causes, key=lambda cause: float(causes[cause].max()))
    return at_most(float(causes[cause].max()), 1e-4, cause, "relative error ")


def inverse(sde: SDE) -> Finding:
    """time undoes rho, in t and in rho."""
    t = inside(sde, 401)
    off = (sde.time(sde.rho(t)) - t).abs() / t.abs().clamp(min=1e-6)
    where = float(t[off.argmax()])
    return at_most(
        float(off.max()), 1e-6, f"time is not the inverse of rho, most so at t = {where:.4g}", "relative error "
    )


def monotone(sde: SDE) -> Finding:
    """The smallest change of log rho between neighbouring times."""
    rise = sde.rho(torch.linspace(sde.t_min, sde.t_max, 1001, dtype=torch.float64)).clamp(1e-300, 1e300).log().diff()
    least = float(rise.min())
    return Finding(least > 0, least, "above 0 between neighbours", "the SNR rises somewhere: alpha or sigma turns back")


def prior(sde: SDE) -> Finding:
    """prior and prior_log_prob are those of N(0, sigma(t_max)^2), and the data have all but vanished."""
    z = torch.linspace(-2, 2, 6, dtype=torch.float64).view(2, 3)
    sigma = sde.sigma(as_time(sde.t_max))
    x = sde.prior(z)
    off = float(_off(x, sigma * z).max())
    log_prob = torch.distributions.Normal(0.0, sigma).log_prob(x).sum(1)
    off = max(off, float(_off(sde.prior_log_prob(x), log_prob).max()))
    if off > 1e-9:
        return at_most(off, 1e-9, "the prior is not N(0, sigma(t_max)^2)", "relative error ")
    left = float(1 / sde.rho(as_time(sde.t_max)))
    return at_most(
        left, 0.135, "at t_max much of the data is left, so that no prior fits it", "alpha / sigma at t_max "
    )


def conversions(sde: SDE) -> Finding:
    """perturb, eps and score against their definitions, in float64: a process may have its own."""
    generator, t = torch.Generator().manual_seed(0), inside(sde)
    x0, eps = torch.randn(2, len(t), 3, generator=generator, dtype=torch.float64)
    x, sigma = sde.alpha(t)[:, None] * x0 + sde.sigma(t)[:, None] * eps, sde.sigma(t)[:, None]
    pairs = {
        "perturb": (sde.perturb(x0, t, eps), x),
        "eps": (sde.eps(x, x0, t), eps),
        "score": (sigma * sde.score(x, x0, t), -eps),
    }
    off = {name: float((got - wanted).abs().max() / wanted.abs().max()) for name, (got, wanted) in pairs.items()}
    name = max(off, key=lambda name: off[name])
    return at_most(off[name], 1e-9, f"{name} is not what alpha and sigma imply", "relative error ")


def broadcast(sde: SDE) -> Finding:
    """perturb, eps and score, with vectors and images, in float32 and float64."""
    methods: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "perturb": lambda t, x0, x: sde.perturb(x0, t, x),
        "eps": lambda t, x0, x: sde.eps(x, x0, t),
        "score": lambda t, x0, x: sde.score(x, x0, t),
    }
    for shape in ((4, 3), (4, 1, 5, 4)):
        for dtype in (torch.float32, torch.float64):
            for name, method in methods.items():
                found = _rows(sde, name, method, torch.ones(shape, dtype=dtype))
                if not found.passed:
                    return found
    return Finding(True, "equal", "each row as by itself")


def _rows(sde: SDE, name: str, method: Callable[[Tensor, Tensor, Tensor], Tensor], like: Tensor) -> Finding:
    t, generator = inside(sde, len(like)), torch.Generator().manual_seed(0)
    x0, x = torch.randn(2, *like.shape, generator=generator, dtype=like.dtype)
    whole = method(t, x0, x)
    rows = torch.cat([method(u, x0[i : i + 1], x[i : i + 1]) for i, u in enumerate(t)])
    if whole.dtype != x.dtype or whole.shape != x.shape:
        got = f"{name}: {tuple(whole.shape)} {whole.dtype}"
        return Finding(False, got, f"{tuple(x.shape)} {x.dtype}", f"{name} changes shape or dtype of x")
    off = float((whole - rows).abs().max() / (1 + rows.abs().max()))
    return at_most(off, 1e-4, f"{name} broadcasts t along the wrong axis", "relative error ")
