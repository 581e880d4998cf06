"""Inverse problems: a measurement y = A(x_0) + noise_std z, and what the methods that draw from p(x_0 | y) share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .errors import InputError, SdekitError
from .guidance import Guidance, Named, current, written
from .line import LARGEST_RHO
from .model import ScoreModel
from .operators import LinearOperator, Operator
from .operators.base import check_linear
from .sampling import Sampler, Samples, sample
from .sde import SDE, Denoise, as_time, like

WITHIN = 0.1
"""Share of the data's variance within one mode, where nothing is told: for data of several modes, as most are."""


@dataclass(frozen=True, eq=False)
class Problem:
    """y = A(x_0) + noise_std z: what was measured, how, and how well; all in the model's units.

    measurement: (*operator.measured), one for all samples. noise_std: standard deviation of the noise in each of its
    numbers, >= 0. Raises InputError for a measurement that the operator cannot have made, and for an operator that is
    not linear where it says so, or whose adjoint is another's (the dot-product test).
    """

    operator: Operator
    measurement: Tensor
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.noise_std < math.inf:
            raise InputError(f"the noise's standard deviation must be at least 0 and finite, got {self.noise_std}")
        object.__setattr__(self, "measurement", self.operator.check(self.measurement))
        if isinstance(self.operator, LinearOperator):
            check_linear(self.operator)

    def residual(self, x0: Tensor) -> Tensor:
        """y - A(x_0), (B, *measured)."""
        return self.measurement.to(x0) - self.operator.apply(x0)

    def linear(self, method: str) -> LinearOperator:
        """The operator, for a method that needs a linear one; InputError where it is not."""
        if not isinstance(self.operator, LinearOperator):
            raise InputError(
                f"{method} needs a linear operator, and {type(self.operator).__name__} is not: use dps, which takes "
                "any differentiable one"
            )
        return self.operator


class Local:
    """The denoiser near x: `x0` (B, *), and the covariance of x_0 given x_t = x as its slope tells it.

    Cov[x_0 | x_t] = sigma^2 / alpha dD/dx (the second-order Tweedie formula; Rozet et al. 2024). Where sigma /
    alpha exceeds 1e3 both are taken there, x along the same noise: alpha may be 0 beyond. One network call.
    """

    def __init__(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, y: Tensor | None = None) -> None:
        t = as_time(t)
        u = torch.where(sde.rho(t) <= LARGEST_RHO, t, sde.time(as_time(LARGEST_RHO)).to(t.device))
        self.gain = like(sde.sigma(u) ** 2 / sde.alpha(u), x)
        with torch.enable_grad():
            self._x = torch.where(like(u == t, x) > 0, x, x * like(sde.sigma(u) / sde.sigma(t), x))
            self._x = self._x.detach().requires_grad_()
            self._x0 = denoise(self._x, u) if y is None else denoise(self._x, u, y)
        if not self._x0.requires_grad:
            raise SdekitError(
                "this method differentiates the network, and the backend gives no gradients: choose the backend "
                "'eager', or a method that needs none (ddrm, diffpir, repaint, replacement)"
            )
        self.x0 = self._x0.detach()
        self._rho2 = sde.rho(u) ** 2

    def isotropic(self, data_std: float) -> Tensor:
        """Variance of x_0 given x_t where the data are N(0, data_std^2 I), () or (B,)."""
        return self._rho2 * data_std**2 / (self._rho2 + data_std**2)

    def narrowed(self, within: float) -> Tensor:
        """What is left of the variance of x_0 given x_t once its mode is told too, () or (B,), between within and 1.

        within: the share of the data's variance that lies within a mode; the rest lies between them. In one direction,
        with data of variance 1: within rho^2 / (within + rho^2), divided by rho^2 / (1 + rho^2).
        """
        return _narrowed(self._rho2, within)

    def cov(self, v: Tensor) -> Tensor:
        """Cov[x_0 | x_t] v, (B, *): one pass back through the network."""
        (slope,) = torch.autograd.grad(self._x0, self._x, v, retain_graph=True)
        return self.gain * slope


def _narrowed(rho2: Tensor, within: float) -> Tensor:
    return within * (1 + rho2) / (within + rho2)


Pull = Callable[[Tensor], Tensor]
"""`pull(v) -> (B, *)`: A* v, that of A's slope at the denoised x_0 where A is not linear."""

Weigh = Callable[[Local, Tensor, Pull], Tensor]
"""`weigh(local, residual, pull) -> (B, *)`: the residual y - A(x_0) over its covariance, somehow, and pulled back."""


def moved(problem: Problem, weigh: Weigh, *, within: float = 1.0) -> Guidance:
    """The guidance D(x) + Cov[x_0 | x] weigh(y - A D(x)): how dps, pigdm, tmpd and mmps move the denoiser's answer.

    With weigh dividing by Cov[y | x_t] it is the conditional mean of two jointly normal x_0 and y. No such mean moves
    A D by more than the whole residual, or by that over `Local.narrowed(within)` where the covariance of x_0 is
    narrowed so: a longer move, as the slope of a trained network makes it, which is no covariance, is shortened. What
    it is narrowed to counts at the time where the sampler's step ends: there the network may mend what is too much.
    """

    def guidance(sde: SDE, denoise: Denoise) -> Denoise:
        def conditional(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            local = Local(sde, denoise, x, t, y)
            operator, x0 = problem.operator, local.x0
            made, pull = _pulled(operator, x0)
            r = problem.measurement.to(x0) - made
            move = local.cov(weigh(local, r, pull))
            change = operator.apply(x0 + move) - made
            return x0 + bound(change * like(_narrowed(_rho_next(sde, t) ** 2, within), r), r, x0) * move

        return conditional

    return guidance


def _rho_next(sde: SDE, t: Tensor) -> Tensor:
    """rho where the sampler's step from t ends, shape of t: 0 at the final denoising, that of t of an adaptive one."""
    passage = current()
    if passage is None:
        return sde.rho(t)
    _, end = passage.around(t)
    rho = sde.rho(t.to(end)) if passage.free else sde.rho(end)
    return torch.where(t.to(end) > passage.times[-1], rho, 0).clamp(max=LARGEST_RHO)


def _pulled(operator: Operator, x0: Tensor) -> tuple[Tensor, Pull]:
    """A(x0), and how to pull back from there."""
    if isinstance(operator, LinearOperator):
        return operator.apply(x0), operator.adjoint
    with torch.enable_grad():
        point = x0.clone().requires_grad_()
        made = operator.apply(point)
    return made.detach(), lambda v: torch.autograd.grad(made, point, v)[0]


def bound(change: Tensor, r: Tensor, x0: Tensor) -> Tensor:
    """The factor, at most 1, that makes |change| at most |r| row by row: (B, 1, ...) as x0 has axes."""
    size, most = (v.flatten(1).square().sum(1).sqrt() for v in (change, r))
    return like(torch.where(size > most, most / torch.where(size > 0, size, 1), 1), x0)


def solve(apply: Callable[[Tensor], Tensor], b: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
    """The v with apply(v) = b for each row of b (B, *), apply symmetric and positive, by conjugate gradients from 0.

    A row stops when its residual is below tolerance times its b, or where apply turns out not to be positive on it;
    where apply is singular and b in its range, v is the shortest solution. Rows do not meet.
    """
    v, r = torch.zeros_like(b), b
    p, rr = r, _dot(r)
    enough = tolerance**2 * rr
    going = rr > 0
    for _ in range(iterations):
        if not bool(going.any()):
            break
        ap = apply(p)
        curvature = _dot(p, ap)
        going = going & (curvature > 0)
        step = torch.where(going, rr / torch.where(going, curvature, 1), 0)
        v, r = v + step * p, r - step * ap
        new = _dot(r)
        going = going & (new > enough)
        p = torch.where(going, r + new / torch.where(rr > 0, rr, 1) * p, p)
        rr = torch.where(going, new, rr)
    return v


def ridge(operator: LinearOperator, r: Tensor, signal: Tensor | float, noise: float, *, least: float = 0.0) -> Tensor:
    """A* (signal A A* + noise I)^-1 r for r (B, *measured), two variances; A^+ r, A's pseudo-inverse, with 1 and 0.

    By conjugate gradients on (signal A* A + noise I) w = A* r, which has a solution whatever was measured: the noise in
    r need not be in A's range. signal: a number, () or (B,). least: where a direction p is left with |A p|^2 < least
    |p|^2, it ends, and w has no part in what A hardly tells: there A^+ would make much of the noise in r.
    """
    signal = like(torch.as_tensor(signal), r)
    left = r
    g = operator.adjoint(r)
    w, p, gg = torch.zeros_like(g), g, _dot(g)
    small, steepest = 1e-12 * gg, torch.zeros_like(gg)
    going = gg > 0
    for _ in range(100):
        if not bool(going.any()):
            break
        ap = operator.apply(p)
        length = _dot(p)
        told = like(ap.flatten(1).square().sum(1), p)
        curvature = like(signal, p) * told + noise * length
        steepest = torch.maximum(steepest, curvature / torch.where(going, length, 1))
        going = going & (told >= least * length)
        going = going & (curvature > torch.finfo(r.dtype).eps * steepest * length)  # else what is left of p is rounding
        step = torch.where(going, gg / torch.where(going, curvature, 1), 0)
        w, left = w + step * p, left - signal * like(step.flatten(), r) * ap
        g = operator.adjoint(left) - noise * w
        new = _dot(g)
        going = going & (new > small)
        p = torch.where(going, g + new / torch.where(gg > 0, gg, 1) * p, p)
        gg = torch.where(going, new, gg)
    return w


def _dot(a: Tensor, c: Tensor | None = None) -> Tensor:
    """<a, c> of each row, |a|^2 without c; (B, 1, ...) as a has axes."""
    return like((a * (a if c is None else c)).flatten(1).sum(1), a)


def replaced(problem: Problem, sde: SDE, x: Tensor, s: Tensor, z: Tensor) -> Tensor:
    """x (B, *) at s with A x made alpha_s y plus noise of standard deviation sigma_s: x + A^+ (alpha_s y + ... - A x).

    Of the noise, alpha_s noise_std is in y already, and the rest comes from z (B, *); where y's own is the larger, x is
    left as it is. A^+ is the pseudo-inverse, but where A tells so little that y's noise comes to more than 2 sigma_s.
    """
    operator, alpha, sigma = problem.linear("replacement"), sde.alpha(s), sde.sigma(s)
    missing = sigma**2 - (alpha * problem.noise_std) ** 2
    if missing < 0:
        return x
    wanted = alpha * problem.measurement.to(x) + operator.apply(missing.sqrt() * z)
    return x + ridge(
        operator, wanted - operator.apply(x), 1.0, 0.0, least=0.25 * float(alpha / sigma * problem.noise_std) ** 2
    )


def restorer(method: str, problem: Problem, **options: Any) -> Guidance | Sampler:
    """The registered method for a problem: a guidance, for any sampler, or a sampler of its own."""
    from .plugins import make

    made: Guidance | Sampler = make("restorer", method, problem, **options)
    return made if isinstance(made, Sampler) else Named(made, written(method, options))


def restore(
    sde: SDE, denoise: Denoise, problem: Problem, method: str | Guidance | Sampler = "mmps", **arguments: Any
) -> Samples:
    """Draw samples of x_0 given a measurement. method: a registered name, or what `restorer` makes.

    arguments: as for `sdekit.sample`; `sampler` too ("ddim" where none is given), but for methods that are samplers
    themselves. guidance: others, which act before the method's. `shape` is the operator's.
    """
    made = restorer(method, problem) if isinstance(method, str) else method
    arguments = {"shape": problem.operator.shape, **arguments}
    if isinstance(made, Sampler):
        if arguments.pop("sampler", None) is not None:
            raise InputError(f"{type(made).__name__} is a sampler itself: name no other one")
        return sample(sde, denoise, made, **arguments)
    others = arguments.pop("guidance", ())
    others = [others] if isinstance(others, str) or callable(others) else list(others)
    sampler = arguments.pop("sampler", None) or "ddim"
    return sample(sde, denoise, sampler, guidance=[*others, made], **arguments)


def estimate_noise(
    model: ScoreModel,
    operator: Operator,
    measurement: Tensor,
    *,
    y: Tensor | None = None,
    rounds: int = 20,
    n: int = 4,
    steps: int = 16,
    device: torch.device | str = "cpu",
) -> float:
    """The noise's standard deviation in the measurement's units, as it makes the measurement most likely.

    Expectation maximisation: draw n samples of p(x_0 | y) at the present value, of which the next is the root mean
    square of y - A(x_0); from the size of y itself downwards, until it changes by less than a twentieth. Each round
    draws with mmps (dps where the operator is not linear) in `steps` steps. y: (k, ...) conditions, taken in turn.
    Source: Dempster, Laird & Rubin 1977.
    """
    measured = operator.check(measurement.double())
    y = None if y is None else y[torch.arange(n) % len(y)]
    std = max(float(measured.square().sum().div(operator.count).sqrt()), 1e-6)
    method = "mmps" if isinstance(operator, LinearOperator) else "dps"
    for _ in range(rounds):
        problem = Problem(operator, measured, std)
        x = restore(model.sde, model, problem, method, n=n, steps=steps, device=device, y=y).x.double().cpu()
        left = problem.residual(x).square().sum() / (n * operator.count)
        std, before = max(float(left.sqrt()), 1e-6), std
        if abs(std - before) < 0.05 * before:
            break
    return std
