"""Conjugate gradients for the linear systems of inverse problems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdekit.inverse.operators import LinearOperator
from sdekit.processes import broadcast


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], b: Tensor, *, iterations: int = 100, tolerance: float = 1e-6
) -> Tensor:
    """Solve apply(v) = b by conjugate gradients, starting from v = 0, separately for each row.

    If `apply` is singular and b is in its range, the result is the shortest solution. A row also stops at a search
    direction in which `apply` is not positive.

    Arguments:
        apply: Symmetric positive linear function, (B, *) to (B, *), that treats the rows separately.
        b: Right-hand sides, (B, *).
        iterations: Largest number of iterations.
        tolerance: A row stops when the norm of its residual is below tolerance times the norm of its b.
    Returns:
        The solutions v, (B, *).
    """

    def curvature(p: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        value = _dot(p, image)
        return value, value > 0

    return _minimize(
        b, apply, curvature, lambda residual, v: residual, scale=1.0, iterations=iterations, tolerance=tolerance
    )


def regularized_least_squares(
    operator: LinearOperator,
    r: Tensor,
    signal_variance: Tensor | float,
    noise_variance: float,
    *,
    least_gain: float = 0.0,
) -> Tensor:
    """Compute A* (signal_variance A A* + noise_variance I)^-1 r, row by row.

    With the variances 1 and 0, the result is A^+ r, where A^+ is the pseudo-inverse of A. The result w is computed by
    conjugate gradients from the normal equations (signal_variance A* A + noise_variance I) w = A* r. These have a
    solution for every r, even if noise in the measurement is outside the range of A.

    Arguments:
        operator: The linear operator A.
        r: Measurements, (B, *measured).
        signal_variance: Variance of x_0, a number, () or (B,).
        noise_variance: Variance of the noise.
        least_gain: A row stops at a search direction p with |A p|^2 < least_gain |p|^2, so that w has no component in
            directions that A hardly measures, in which A^+ would amplify the noise in r.
    Returns:
        w, (B, *shape).
    """
    scale = broadcast(torch.as_tensor(signal_variance), r)
    steepest = r.new_zeros(())

    def curvature(p: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal steepest
        length = _dot(p)
        gain = broadcast(image.flatten(1).square().sum(1), p)
        value = broadcast(scale, p) * gain + noise_variance * length
        slope = value / torch.where(length > 0, length, 1)
        steepest = torch.maximum(slope, steepest)
        # a direction with less curvature than the size of rounding errors consists of rounding errors
        usable = (gain >= least_gain * length) & (value > torch.finfo(r.dtype).eps * steepest * length)
        return value, usable

    def gradient(residual: Tensor, w: Tensor | float) -> Tensor:
        return operator.adjoint(residual) - noise_variance * w

    return _minimize(r, operator.apply, curvature, gradient, scale=scale, iterations=100, tolerance=1e-6)


def _minimize(
    b: Tensor,
    apply: Callable[[Tensor], Tensor],
    curvature: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    gradient: Callable[[Tensor, Tensor | float], Tensor],
    *,
    scale: Tensor | float,
    iterations: int,
    tolerance: float,
) -> Tensor:
    """Minimize a quadratic function of v by conjugate gradients, row by row, for both solvers above.

    The residual is b - scale apply(v). `gradient(residual, v)` returns the negative gradient at v; `curvature(p,
    apply(p))` returns the second derivative along p and whether each row may step in this direction.
    """
    residual = b
    g = gradient(residual, 0.0)
    v, p, gg = torch.zeros_like(g), g, _dot(g)
    enough = tolerance**2 * gg
    active = gg > 0
    for _ in range(iterations):
        if not bool(active.any()):
            break
        image = apply(p)
        along, usable = curvature(p, image)
        active = active & usable
        step = torch.where(active, gg / torch.where(active, along, 1), 0)
        v, residual = v + step * p, residual - scale * broadcast(step.flatten(), residual) * image
        g = gradient(residual, v)
        new = _dot(g)
        active = active & (new > enough)
        p = torch.where(active, g + new / torch.where(gg > 0, gg, 1) * p, p)
        gg = torch.where(active, new, gg)
    return v


def _dot(a: Tensor, c: Tensor | None = None) -> Tensor:
    """Return <a, c> of each row, or |a|^2 if c is None, as (B, 1, ...) with as many axes as a."""
    return broadcast((a * (a if c is None else c)).flatten(1).sum(1), a)
