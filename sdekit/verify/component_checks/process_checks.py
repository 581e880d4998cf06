"""Checks of processes: consistency of f and g with alpha and sigma, the inverse of rho, the prior, broadcasting."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, as_time
from sdekit.verify.common.check_results import Check, Finding, at_most, skip
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
    form = Check("scales", "0 <= alpha <= 1, sigma > 0; float64, elementwise", partial(scales, sde))
    clock = Check("time", "time(rho(t)) = t, rho = sigma / alpha", partial(inverse, sde), (form,))
    checks = [
        Check("f", "f = d/dt log alpha", partial(drift, sde)),
        Check("g", "g^2 = d sigma^2 / dt - 2 f sigma^2", partial(diffusion, sde)),
        Check("ends", "f and g obey the same laws at t_min and t_max", partial(ends, sde)),
        *published_check,
        Check("monotone", "rho increases with t", partial(monotone, sde)),
        Check("prior", "x at t_max is N(0, sigma(t_max)^2); log-SNR(t_max) < -4", partial(prior, sde)),
        Check("conversions", "x_t = alpha x_0 + sigma eps, score = -eps / sigma", partial(conversions, sde)),
        Check(
            "broadcast", "perturb(x, (t_1, ..., t_B))^i = perturb(x^i, t_i); eps, score too", partial(broadcast, sde)
        ),
        Check("options", "each option changes the process; equal processes have equal hashes", partial(options, sde)),
    ]
    law = "sigma^2 = alpha^2 (rho(t_min)^2 + int g^2 / alpha^2 dt), log alpha = log alpha(t_min) + int f dt"
    integral = Check("variance", law, partial(variance, sde), (form, clock))
    return [form, clock, *(replace(check, roots=(form,)) for check in checks), integral]


def interior_times(sde: SDE, n: int = 101) -> Tensor:
    """Return n times over the whole range, different from its ends and from the knots of any table."""
    return sde.t_min + _fractions(n) * (sde.t_max - sde.t_min)


def _fractions(n: int) -> Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.3819660113) / n


def _all_times(sde: SDE, n: int = 101) -> Tensor:
    """Return `interior_times` and as many times with equal steps of log rho, in order."""
    low, high = sde.sigma(_ends(sde)) / sde.alpha(_ends(sde)).clamp(min=1e-3)
    levels = (low.log() + _fractions(n) * (high / low).log()).exp()
    times = sde.time(levels)
    inside = times[(times > sde.t_min) & (times < sde.t_max)]  # time() may be wrong, which its own check reports
    times = torch.cat([interior_times(sde, n), inside]).sort().values
    return times[times.diff(append=_ends(sde)[1:]) > 1e-9 * (sde.t_max - sde.t_min)]


def _ends(sde: SDE) -> Tensor:
    return torch.tensor([sde.t_min, sde.t_max], dtype=torch.float64)


def slope(scale: Scale, t: Tensor, sde: SDE) -> Tensor:
    """Return d scale / dt by central differences, with the shape of t."""
    h = torch.minimum(t - sde.t_min, sde.t_max - t).mul(3e-3).clamp(max=5e-7 * (sde.t_max - sde.t_min))
    return (scale(t + h) - scale(t - h)) / (2 * h)


def _relative_error(measured: Tensor, expected: Tensor, floor: float = 1e-9) -> Tensor:
    """Return |measured - expected| / max(|expected|, floor)."""
    return (measured - expected).abs() / expected.abs().clamp(min=floor)


def _ratio(measured: Tensor, expected: Tensor) -> str:
    """Return the median of measured / expected as text, for example "2 times"."""
    return f"{float((measured / expected).median()):.3g} times"


def scales(sde: SDE) -> Finding:
    """Check that alpha, sigma, f, g and time are elementwise and in float64, and that alpha and sigma are in range."""
    t = torch.linspace(sde.t_min, sde.t_max, 101, dtype=torch.float64)
    functions: dict[str, Scale] = {"alpha": sde.alpha, "sigma": sde.sigma, "f": sde.f, "g": sde.g, "time": sde.time}
    for name, scale in functions.items():
        inner = interior_times(sde) if name != "time" else sde.rho(interior_times(sde))
        values, before = scale(inner), inner.clone()
        for u in (t, t[50], as_time(sde.t_min), t[50].float(), t[:100].view(20, 5)):
            u = sde.rho(u).to(u.dtype) if name == "time" else u
            value = scale(u)
            if value.dtype != torch.float64 or value.shape != u.shape:
                measured = f"{name}: {tuple(value.shape)} {value.dtype}"
                cause = f"{name} changes the dtype or shape of its argument: compute it in float64, elementwise"
                return Finding(False, measured, f"{tuple(u.shape)} torch.float64", cause)
        single = torch.stack([torch.stack([scale(u) for u in inner]), scale(inner[:, None])[:, 0]]).nan_to_num()
        values, again = values.nan_to_num(), scale(inner).nan_to_num()  # the other checks measure the values
        problem = ""
        if not torch.equal(inner, before):
            problem = "changes its argument in place: compute a new tensor"
        elif float(_relative_error(single, values).max()) > 1e-12 or not torch.equal(again, values):
            problem = "is not a function of one time: compute it elementwise, without random numbers"
        elif len(values.unique()) > 2 and torch.equal(values.float().double(), values):
            problem = "is rounded to float32: compute it in float64"
        if problem:
            return Finding(False, f"{name} {problem.partition(':')[0]}", "elementwise, in float64", f"{name} {problem}")
    for name, scale, least, most in (("alpha", sde.alpha, -1e-12, 1 + 1e-9), ("sigma", sde.sigma, 1e-30, math.inf)):
        low, high = float(scale(t).min()), float(scale(t).max())
        if not scale(t).isfinite().all() or low < least or high > most:
            cause = f"{name} is outside its range: correct the schedule or t_min and t_max"
            return Finding(False, f"{name}: {low:.3g} to {high:.3g}", "alpha in [0, 1], sigma > 0", cause)
    alpha, sigma = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
    least = 1 - sigma / alpha
    cause = "alpha is not 1 at the data, so that samples have another scale: divide by alpha(0)"
    return Finding(alpha >= least - 1e-9, alpha, f"at t_min at least 1 - rho, {least:.6g}", cause)


def drift(sde: SDE) -> Finding:
    """Check that f equals d log alpha / dt, computed by finite differences."""
    t = _all_times(sde)
    expected = slope(lambda u: sde.alpha(u).log(), t, sde)
    error = float(_relative_error(sde.f(t), expected, 1e-3).max())
    cause = f"f is {_ratio(sde.f(t), expected)} d/dt log alpha: correct f or alpha"
    return at_most(error, 1e-4, cause, "relative error ")


def diffusion(sde: SDE) -> Finding:
    """Check that g^2 equals d sigma^2 / dt - 2 f sigma^2, computed by finite differences."""
    t = _all_times(sde)
    rate = slope(lambda u: sde.alpha(u).log(), t, sde)
    expected = slope(lambda u: sde.sigma(u) ** 2, t, sde) - 2 * rate * sde.sigma(t) ** 2
    error = float(_relative_error(sde.g(t) ** 2, expected).max())
    cause = f"g^2 is {_ratio(sde.g(t) ** 2, expected)} the value that alpha and sigma imply: correct g or sigma"
    return at_most(error, 1e-4, cause, "relative error ")


def ends(sde: SDE) -> Finding:
    """Check that f and g at t_min and t_max equal one-sided differences of alpha and sigma, if rho is below 1000.

    A coefficient that jumps at knots may have the value of either side there.
    """
    for t in _ends(sde):
        if not sde.rho(t) < 1e3:
            continue
        errors = []
        for h in (1e-8 * (sde.t_max - sde.t_min), -1e-8 * (sde.t_max - sde.t_min)):
            rate = (sde.alpha(t + h).log() - sde.alpha(t).log()) / h
            g2 = (sde.sigma(t + h) ** 2 - sde.sigma(t) ** 2) / h - 2 * rate * sde.sigma(t) ** 2
            errors.append((float(_relative_error(sde.f(t), rate, 1e-3)), float(_relative_error(sde.g(t) ** 2, g2))))
        for name, values in zip("fg", zip(*errors, strict=True), strict=True):
            error = min((value for value in values if value == value), default=0.0)
            if error > 0.02:
                cause = f"{name} at t = {float(t):g} is not the limit of {name}: use the same formula at the ends"
                return at_most(error, 0.02, cause, "relative error ")
    return Finding(True, "equal", "one-sided differences")


def variance(sde: SDE) -> Finding:
    """Check that sigma and alpha agree with the integrals of d rho^2 / dt = g^2 / alpha^2 and f, for rho up to 30."""
    low, high = float(sde.rho(as_time(sde.t_min))), min(float(sde.rho(as_time(sde.t_max))), 30.0)
    t = sde.time(torch.logspace(0, 1, 4001, base=high / low, dtype=torch.float64) * low)
    t = t.clamp(sde.t_min, sde.t_max)
    middle = (t[1:] + t[:-1]) / 2
    integral = (sde.g(middle) ** 2 / sde.alpha(middle) ** 2 * t.diff()).cumsum(0)
    expected = sde.alpha(t[1:]) * (sde.rho(t[0]) ** 2 + integral).sqrt()
    cause = f"sigma is {_ratio(sde.sigma(t[1:]), expected)} the standard deviation that g implies: correct g or sigma"
    errors = {cause: float(_relative_error(sde.sigma(t[1:]), expected).max())}
    decay = sde.alpha(t[0]) * (sde.f(middle) * t.diff()).cumsum(0).exp()
    errors["alpha jumps, or is not the integral of f: correct alpha or f"] = float(
        _relative_error(sde.alpha(t[1:]), decay).max()
    )
    cause = max(errors, key=lambda cause: errors[cause])
    return at_most(errors[cause], 5e-3, cause, "relative error ")


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
    """Check that time is the inverse of rho = sigma / alpha, also at the ends, and that it is not NaN at rho = inf."""
    t = torch.cat([_all_times(sde, 401), _ends(sde)])
    t = t[sde.alpha(t) > 1e-6]
    ratio = float(_relative_error(sde.rho(t), sde.sigma(t) / sde.alpha(t)).max())
    if not ratio < 1e-9:
        return at_most(ratio, 1e-9, "rho is not sigma / alpha: remove rho(), or correct it", "relative error ")
    scale = torch.minimum(t.abs().clamp(min=1e-6), as_time(sde.t_max - sde.t_min))
    error = (sde.time(sde.rho(t)) - t).abs() / scale
    cause = f"time is not the inverse of rho (largest error at t = {float(t[error.argmax()]):.4g}): correct time()"
    if float(error.max()) <= 1e-8 and not sde.time(as_time(math.inf)) >= sde.t_max * (1 - 1e-9):
        cause = "time(inf) must be a time at or after t_max, because rho may be infinite there"
        return Finding(False, float(sde.time(as_time(math.inf))), f"at least {sde.t_max:g}", cause)
    return at_most(float(error.max()), 1e-8, cause, "relative error ")


def monotone(sde: SDE) -> Finding:
    """Check that log rho increases between neighbouring times, over the whole range and within a millionth of it."""
    width = sde.t_max - sde.t_min
    grids = [torch.linspace(sde.t_min, sde.t_max, 20001, dtype=torch.float64), _all_times(sde, 1001)]
    grids += [t + width * torch.linspace(0, 1e-7, 101, dtype=torch.float64) for t in interior_times(sde, 3)]
    for times in grids:
        change = sde.rho(times).clamp(1e-300, 1e300).log().diff()[times.diff() > 0]
        if not (smallest := float(change.min())) > 0:
            cause = "rho decreases somewhere, or is constant: correct alpha, sigma, t_min or t_max"
            return Finding(False, smallest, "above 0 between neighbours", cause)
    return Finding(True, "increases", "above 0 between neighbours")


def options(sde: SDE) -> Finding:
    """Check that a change of each numeric option changes the process, and that equal processes have equal hashes."""
    process: Any = sde
    if not hasattr(process, "__dataclass_fields__"):
        return skip("the process is no dataclass, so that it has no options")
    copy = replace(process)
    if process != copy or hash(process) != hash(copy):
        cause = "two equal processes differ or have other hashes: use a frozen dataclass of numbers and tuples"
        return Finding(False, "different", "equal", cause)
    t = interior_times(sde, 11)
    for option in fields(process):
        value = getattr(sde, option.name)
        if not option.init or type(value) not in (int, float):
            continue
        for factor in (0.8, 1.25):
            with suppress(InputError):
                other: SDE = replace(process, **{option.name: type(value)(value * factor + (not value) * 1e-3)})
                before, after = (_description(p, t) for p in (sde, other))
                if torch.equal(before, after):
                    cause = f"the option {option.name} has no effect: use it, or remove it"
                    return Finding(False, option.name, "every option changes alpha, sigma or the range", cause)
    return Finding(True, "all", "every option changes alpha, sigma or the range")


def _description(sde: SDE, t: Tensor) -> Tensor:
    """Return all numbers of a process at the times t that its options may change."""
    return torch.cat([sde.alpha(t), sde.sigma(t), _ends(sde), *(published_coefficients(sde, t) or ())])


def prior(sde: SDE) -> Finding:
    """Check that prior and prior_log_prob agree with N(0, sigma(t_max)^2), and that the SNR is small at t_max."""
    sigma, cause = (
        sde.sigma(as_time(sde.t_max)),
        "the prior is not N(0, sigma(t_max)^2): correct prior() or prior_log_prob()",
    )
    for shape in ((2, 12), (2, 2, 3, 2)):
        for dtype, bound in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
            z = torch.linspace(-2, 2, 24, dtype=dtype).view(shape)
            x = sde.prior(z)
            log_prob = torch.distributions.Normal(0.0, sigma).log_prob(x.double()).flatten(1).sum(1)
            own = sde.prior_log_prob(x)
            if (x.dtype, x.shape, own.dtype, own.shape) != (dtype, z.shape, dtype, (2,)):
                measured = f"{x.dtype} {tuple(x.shape)}, {own.dtype} {tuple(own.shape)}"
                return Finding(
                    False, measured, f"{dtype} {shape}, {dtype} (2,)", "the prior changes the dtype or the shape"
                )
            error = float(max(_relative_error(x, sigma * z).max(), _relative_error(own, log_prob).max()))
            if not error <= bound:
                cause = "the prior is not N(0, sigma(t_max)^2): correct prior() or prior_log_prob()"
                return at_most(error, bound, cause, "relative error ")
    signal = float(1 / sde.rho(as_time(sde.t_max)))
    cause = "x at t_max still depends on the data, so no prior fits it: add more noise, or increase t_max"
    return at_most(signal, 0.135, cause, "alpha / sigma at t_max ")


def conversions(sde: SDE) -> Finding:
    """Check that perturb, eps and score, which a process may override, agree with their definitions in float64."""
    generator, t = torch.Generator().manual_seed(0), _all_times(sde)
    x0, eps = torch.randn(2, len(t), 3, generator=generator, dtype=torch.float64)
    x, sigma = sde.alpha(t)[:, None] * x0 + sde.sigma(t)[:, None] * eps, sde.sigma(t)[:, None]
    pairs = {
        "perturb": (sde.perturb(x0, t, eps), x),
        "eps": (sde.eps(x, x0, t), eps),
        "score": (sigma * sde.score(x, x0, t), -eps),
    }
    errors = {
        name: float(((value - exact).abs().amax(1) / exact.abs().amax(1)).max())
        for name, (value, exact) in pairs.items()
    }
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
    for shape in ((4, 3), (4, 4), (4, 1, 5, 4), (4, 4, 2, 4)):
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
