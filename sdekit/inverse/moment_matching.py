"""Guidance towards a measurement by the moments of x_0 given x_t, from the denoiser's Jacobian."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdekit.errors import SdekitError
from sdekit.guidance import Guidance, current_context
from sdekit.inverse.operators import LinearOperator, Operator
from sdekit.processes import LARGEST_RHO, SDE, Denoiser, as_time, broadcast, evaluate_denoiser

from .problem import Problem

MODE_VARIANCE_FRACTION = 0.1
"""Share of the data's variance within one mode, where nothing is told: for data of several modes, as most are."""


class LinearizedDenoiser:
    """The denoiser near x: `x0` (B, *), and the covariance of x_0 given x_t = x as its slope tells it.

    Cov[x_0 | x_t] = sigma^2 / alpha dD/dx (the second-order Tweedie formula; Rozet et al. 2024). Where sigma /
    alpha exceeds 1e3 both are taken there, x along the same noise: alpha may be 0 beyond. One network call.
    """

    def __init__(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, y: Tensor | None = None) -> None:
        t = as_time(t)
        u = torch.where(sde.rho(t) <= LARGEST_RHO, t, sde.time(as_time(LARGEST_RHO)).to(t.device))
        self.gain = broadcast(sde.sigma(u) ** 2 / sde.alpha(u), x)
        with torch.enable_grad():
            self._x = torch.where(broadcast(u == t, x) > 0, x, x * broadcast(sde.sigma(u) / sde.sigma(t), x))
            self._x = self._x.detach().requires_grad_()
            self._x0 = evaluate_denoiser(denoise, self._x, u, y)
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

Weigh = Callable[[LinearizedDenoiser, Tensor, Pull], Tensor]
"""`weigh(local, residual, pull) -> (B, *)`: the residual y - A(x_0) over its covariance, somehow, and pulled back."""


def posterior_mean_guidance(problem: Problem, weigh: Weigh, *, within: float = 1.0) -> Guidance:
    """The guidance D(x) + Cov[x_0 | x] weigh(y - A D(x)): how dps, pigdm, tmpd and mmps move the denoiser's answer.

    With weigh dividing by Cov[y | x_t] it is the conditional mean of two jointly normal x_0 and y. No such mean moves
    A D by more than the whole residual, or by that over `Local.narrowed(within)` where the covariance of x_0 is
    narrowed so: a longer move, as the slope of a trained network makes it, which is no covariance, is shortened. What
    it is narrowed to counts at the time where the sampler's step ends: there the network may mend what is too much.
    """

    def guidance(sde: SDE, denoise: Denoiser) -> Denoiser:
        def conditional(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            local = LinearizedDenoiser(sde, denoise, x, t, y)
            operator, x0 = problem.operator, local.x0
            made, pull = _pulled(operator, x0)
            r = problem.measurement.to(x0) - made
            move = local.cov(weigh(local, r, pull))
            change = operator.apply(x0 + move) - made
            return x0 + bound(change * broadcast(_narrowed(_rho_next(sde, t) ** 2, within), r), r, x0) * move

        return conditional

    return guidance


def _rho_next(sde: SDE, t: Tensor) -> Tensor:
    """rho where the sampler's step from t ends, shape of t: 0 at the final denoising, that of t of an adaptive one."""
    context = current_context()
    if context is None:
        return sde.rho(t)
    _, end = context.step_containing(t)
    rho = sde.rho(t.to(end)) if context.adaptive else sde.rho(end)
    return torch.where(t.to(end) > context.times[-1], rho, 0).clamp(max=LARGEST_RHO)


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
    return broadcast(torch.where(size > most, most / torch.where(size > 0, size, 1), 1), x0)
