"""Guidance towards a measurement, from the mean and covariance of x_0 given x_t that the denoiser provides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import SdekitError
from sdekit.guidance import Guidance, current_context
from sdekit.inverse.operators import LinearOperator, Operator
from sdekit.processes import LARGEST_RHO, SDE, Denoiser, as_time, broadcast, evaluate_denoiser

from .problem import Problem

MODE_VARIANCE_FRACTION = 0.1
"""Default share of the data's variance that lies within one mode; below 1, because most data have several modes."""

Adjoint = Callable[[Tensor], Tensor]
"""`adjoint(v) -> (B, *)` returns A* v; if A is not linear, A* is the adjoint of its derivative at the denoised x_0."""


class LinearizedDenoiser:
    """The denoiser and its Jacobian at x_t: the mean and the covariance of x_0 given x_t.

    `x0` (B, *) is the denoised x_t, and Cov[x_0 | x_t] = sigma^2 / alpha dD/dx (the second-order Tweedie formula). At
    noise levels above 1e3, where alpha may be 0, x_t is scaled to the noise level 1e3. Creating a `LinearizedDenoiser`
    costs one network evaluation.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser; it must support gradients with respect to x.
        x: Noisy samples x_t, (B, *).
        t: Times, () or (B,).
        y: Conditions, (B, ...), or None.
    Raises:
        SdekitError: If the result of the denoiser has no gradient.
    Source:
        Rozet et al. 2024.
    """

    def __init__(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, y: Any = None) -> None:
        t = as_time(t)
        u = torch.where(sde.rho(t) <= LARGEST_RHO, t, sde.time(as_time(LARGEST_RHO)).to(t.device))
        self._gain = broadcast(sde.sigma(u) ** 2 / sde.alpha(u), x)
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

    def covariance(self, v: Tensor) -> Tensor:
        """Multiply v (B, *) by Cov[x_0 | x_t], with one backward pass through the network; returns (B, *)."""
        (gradient,) = torch.autograd.grad(self._x0, self._x, v, retain_graph=True)
        return self._gain * gradient

    def gaussian_variance(self, data_std: float) -> Tensor:
        """Return the variance of x_0 given x_t if the data were N(0, data_std^2 I), () or (B,)."""
        return self._rho2 * data_std**2 / (self._rho2 + data_std**2)

    def within_mode(self, mode_variance_fraction: float) -> Tensor:
        """Return the share of the variance of x_0 given x_t that remains if its mode is known too, () or (B,).

        Suppose that the data have variance 1, and variance w = mode_variance_fraction within each mode. The variance of
        x_0 given x_t is then rho^2 / (1 + rho^2); if the mode is known, it is w rho^2 / (w + rho^2). The result is the
        second variance divided by the first.
        """
        return _within_mode(self._rho2, mode_variance_fraction)


LikelihoodGradient = Callable[[LinearizedDenoiser, Tensor, Adjoint], Tensor]
"""`gradient(linearized, residual, adjoint) -> (B, *)`: the gradient A* Cov[y | x_t]^-1 (y - A x_0) of the logarithm of
the likelihood N(y; A x_0, Cov[y | x_t]). The methods differ in how they approximate this covariance."""


def posterior_mean_guidance(
    problem: Problem, gradient: LikelihoodGradient, *, mode_variance_fraction: float = 1.0
) -> Guidance:
    """Create the guidance D(x) + Cov[x_0 | x_t] gradient, the mean of x_0 given x_t and the measurement y.

    dps, pigdm, tmpd and mmps have this form, which is exact if x_0 and y are jointly Gaussian given x_t. In that case
    the norm of the change of A D is at most the norm of the residual y - A D, or, for data of several modes, the norm
    of the residual divided by `within_mode`. The Jacobian of a trained network is not exactly a covariance and may give
    a larger change; the change is then scaled down to this limit. `within_mode` is evaluated at the noise level at the
    end of the sampler's step, because later evaluations can correct a change that is too large.

    Arguments:
        problem: The inverse problem.
        gradient: Gradient of the log-likelihood with respect to x_0.
        mode_variance_fraction: Share of the data's variance within one mode, in (0, 1].
    Returns:
        The guidance.
    """

    def guidance(sde: SDE, denoise: Denoiser) -> Denoiser:
        def guided(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
            linearized = LinearizedDenoiser(sde, denoise, x, t, y)
            x0 = linearized.x0
            predicted, adjoint = _apply_with_adjoint(problem.operator, x0)
            residual = problem.measurement.to(x0) - predicted
            move = linearized.covariance(gradient(linearized, residual, adjoint))
            change = problem.operator.apply(x0 + move) - predicted
            share = broadcast(_within_mode(_rho_after_step(sde, t) ** 2, mode_variance_fraction), residual)
            return x0 + shortening_factor(change * share, residual, x0) * move

        return guided

    return guidance


def shortening_factor(change: Tensor, residual: Tensor, x0: Tensor) -> Tensor:
    """Compute the factor that limits the norm of a change of the measurement to the norm of the residual.

    Arguments:
        change: Change of the measurement, (B, *measured).
        residual: Residual, (B, *measured).
        x0: Samples, (B, *); the result has the same number of axes.
    Returns:
        Factor of each row, at most 1, (B, 1, ...).
    """
    size, limit = (v.flatten(1).square().sum(1).sqrt() for v in (change, residual))
    return broadcast(torch.where(size > limit, limit / torch.where(size > 0, size, 1), 1), x0)


def _within_mode(rho2: Tensor, fraction: float) -> Tensor:
    return fraction * (1 + rho2) / (fraction + rho2)


def _rho_after_step(sde: SDE, t: Tensor) -> Tensor:
    """Return rho at the end of the sampler's step from t: 0 at the final denoising, rho(t) if the end is not known."""
    context = current_context()
    if context is None:
        return sde.rho(t)
    _, end = context.step_containing(t)
    rho = sde.rho(t.to(end)) if context.adaptive else sde.rho(end)
    return torch.where(t.to(end) > context.times[-1], rho, 0).clamp(max=LARGEST_RHO)


def _apply_with_adjoint(operator: Operator, x0: Tensor) -> tuple[Tensor, Adjoint]:
    """Return A(x0) and the adjoint of A, or of its derivative at x0 if A is not linear."""
    if isinstance(operator, LinearOperator):
        return operator.apply(x0), operator.adjoint
    with torch.enable_grad():
        point = x0.clone().requires_grad_()
        predicted = operator.apply(point)
    return predicted.detach(), lambda v: torch.autograd.grad(predicted, point, v)[0]
