"""Base classes of operators, which map x to a measurement; a linear operator also has an adjoint and an SVD."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sdekit.arguments import check_instance
from sdekit.errors import InputError

DENSE = 2048
"""Largest size of a sample for which the SVD is computed from the matrix of the operator."""


class Operator(ABC):
    """An operator A that maps samples (B, *shape) to measurements (B, *measured), differentiable in x.

    A subclass defines `apply` and sets `shape`, the shape of one sample, and `measured`, the shape of one measurement.
    """

    shape: tuple[int, ...]
    measured: tuple[int, ...]

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """Return A(x), (B, *measured), for x (B, *shape), in the dtype and on the device of x."""

    def check(self, y: Tensor) -> Tensor:
        """Return a measurement (*measured) in the form in which `apply` returns it.

        Raises InputError if it has another shape or contains numbers that are not finite.
        """
        check_instance("the measurement", y, Tensor, "a tensor")
        if tuple(y.shape) != self.measured:
            raise InputError(
                f"the measurement has shape {_format_shape(y.shape)}, and the operator {type(self).__name__} makes "
                f"{_format_shape(self.measured)} of a sample of shape {_format_shape(self.shape)}"
            )
        if not bool(y.isfinite().all()):
            raise InputError("the measurement contains numbers that are not finite: remove or replace them")
        return y

    @property
    def count(self) -> int:
        """Number of measured numbers."""
        return math.prod(self.measured)

    def counts(self, x: Tensor) -> Tensor:
        """Return the number of measured numbers of each row of x (B, *shape), (B,) in the dtype of x."""
        return x.new_full((len(x),), self.count)


@dataclass(frozen=True)
class SVD:
    """Singular value decomposition A = U diag(s) V^T of a linear operator, with U and V as functions.

    Directions that V does not span have the singular value 0; entries of s may be 0 too.

    Arguments:
        s: Singular values, (r,), at least 0; r may be smaller than the dimension of x.
        v: V, from coefficients (B, r) to samples (B, *shape).
        vt: V^T, from samples (B, *shape) to coefficients (B, r).
        ut: U^T, from measurements (B, *measured) to coefficients (B, r).
    """

    s: Tensor
    v: Callable[[Tensor], Tensor]
    vt: Callable[[Tensor], Tensor]
    ut: Callable[[Tensor], Tensor]


class LinearOperator(Operator):
    """A linear operator A with its adjoint A*: <A x, y> = <x, A* y>.

    A subclass sets `shape` and `measured` and defines `apply`. By default, the adjoint is computed by automatic
    differentiation, and the SVD from the matrix if x has at most 2048 numbers. A subclass may override both with faster
    methods.
    """

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A* y, (B, *shape), for y (B, *measured)."""
        with torch.enable_grad():
            x = y.new_zeros((len(y), *self.shape)).requires_grad_()
            (result,) = torch.autograd.grad(self.apply(x), x, y.detach())
        return result

    def matrix(self) -> Tensor:
        """Return the matrix of A on flattened samples, (m, d), float64; raises InputError if it would be too large."""
        d = math.prod(self.shape)
        if d > DENSE:
            raise InputError(
                f"{type(self).__name__}: its matrix for samples of {d} numbers is too large, and it defines no other "
                f"way to compute its singular values (they are computed up to {DENSE} numbers): use a method that "
                "needs none, such as mmps"
            )
        return self.apply(torch.eye(d, dtype=torch.float64).view(d, *self.shape)).flatten(1).T.contiguous()

    def svd(self) -> SVD:
        """Return the singular value decomposition, which is computed once."""
        return self._dense

    @cached_property
    def _dense(self) -> SVD:
        u, s, vt = torch.linalg.svd(self.matrix(), full_matrices=False)
        return SVD(
            s,
            lambda c: (c @ vt.to(c)).view(-1, *self.shape),
            lambda x: x.flatten(1) @ vt.to(x).T,
            lambda y: y.flatten(1) @ u.to(y),
        )


class TightFrame(LinearOperator):
    """A linear operator with A A* = gain I, so that all its singular values are sqrt(gain)."""

    gain: float = 1.0

    def svd(self) -> SVD:
        root = math.sqrt(self.gain)
        return SVD(
            torch.full((self.count,), root, dtype=torch.float64),
            lambda c: self.adjoint(c.view(-1, *self.measured)) / root,
            lambda x: self.apply(x).flatten(1) / root,
            lambda y: y.flatten(1),
        )


def check_linear(operator: LinearOperator, seed: int = 0) -> None:
    """Check that an operator is linear and that its `adjoint` is the adjoint, for random numbers in float64.

    The adjoint is checked by the dot-product test <A x, y> = <x, A* y>.

    Arguments:
        operator: The operator.
        seed: Seed of the random x and y.
    Raises:
        InputError: If a check fails; the message contains the size of the error, relative to |A x| |y|.
    """
    generator = torch.Generator().manual_seed(seed)
    x, z = torch.randn(2, 1, *operator.shape, generator=generator, dtype=torch.float64)
    y = torch.randn(1, *operator.measured, generator=generator, dtype=torch.float64)
    ax, az = operator.apply(x), operator.apply(z)
    if ax.shape != y.shape:
        raise InputError(
            f"the operator makes {_format_shape(ax.shape[1:])}, but its attribute `measured` is "
            f"{_format_shape(y.shape[1:])}"
        )
    size = max(float(2 * ax.norm() + 3 * az.norm()), 1e-300)
    error = float((operator.apply(2 * x - 3 * z) - 2 * ax + 3 * az).norm()) / size
    if not error <= 1e-5:
        raise InputError(
            f"the operator is not linear: A(2 x - 3 z) differs from 2 A(x) - 3 A(z) by {error:.2g} of their length; "
            "wrap it in NonLinear, and use dps"
        )
    back = operator.adjoint(y)
    if back.shape != x.shape:
        raise InputError(
            f"the adjoint makes {_format_shape(back.shape[1:])} of a measurement; it should make "
            f"{_format_shape(x.shape[1:])}"
        )
    left, right = float((ax * y).sum()), float((x * back).sum())
    error = abs(left - right) / max(float(ax.norm() * y.norm()), float(x.norm() * back.norm()), 1e-300)
    if not error <= 1e-5:
        raise InputError(
            f"the given adjoint is not the adjoint of the operator: <A x, y> = {left:.6g} and <x, A* y> = {right:.6g} "
            f"for random x and y, a difference of {error:.2g} of |A x| |y|; leave out the adjoint to compute it by "
            "differentiation"
        )


def _format_shape(shape: torch.Size | tuple[int, ...]) -> str:
    """Write a shape as a tuple, "(3, 8, 8)"."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
