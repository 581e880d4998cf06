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


def regularized_least_squares(
    operator: LinearOperator, r: Tensor, signal: Tensor | float, noise: float, *, least: float = 0.0
) -> Tensor:
    """A* (signal A A* + noise I)^-1 r for r (B, *measured), two variances; A^+ r, A's pseudo-inverse, with 1 and 0.

    By conjugate gradients on (signal A* A + noise I) w = A* r, which has a solution whatever was measured: the noise in
    r need not be in A's range. signal: a number, () or (B,). least: where a direction p is left with |A p|^2 < least
    |p|^2, it ends, and w has no part in what A hardly tells: there A^+ would make much of the noise in r.
    """
    signal = broadcast(torch.as_tensor(signal), r)
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
        told = broadcast(ap.flatten(1).square().sum(1), p)
        curvature = broadcast(signal, p) * told + noise * length
        steepest = torch.maximum(steepest, curvature / torch.where(going, length, 1))
        going = going & (told >= least * length)
        going = going & (curvature > torch.finfo(r.dtype).eps * steepest * length)  # else what is left of p is rounding
        step = torch.where(going, gg / torch.where(going, curvature, 1), 0)
        w, left = w + step * p, left - signal * broadcast(step.flatten(), r) * ap
        g = operator.adjoint(left) - noise * w
        new = _dot(g)
        going = going & (new > small)
        p = torch.where(going, g + new / torch.where(gg > 0, gg, 1) * p, p)
        gg = torch.where(going, new, gg)
    return w


def _dot(a: Tensor, c: Tensor | None = None) -> Tensor:
    """<a, c> of each row, |a|^2 without c; (B, 1, ...) as a has axes."""
    return broadcast((a * (a if c is None else c)).flatten(1).sum(1), a)
