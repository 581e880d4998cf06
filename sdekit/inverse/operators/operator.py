"""What an operator is: how a measurement depends on x, and for linear ones the adjoint and the singular values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from sdekit.errors import InputError

DENSE = 2048
"""Numbers in a sample up to which a matrix and its singular values are computed where no shorter way is known."""


class Operator(ABC):
    """y = A(x) + noise: x (B, *shape) to (B, *measured), differentiable.

    shape: of one sample. measured: of one measurement. linear: whether A is; such are `LinearOperator`s.
    """

    linear: ClassVar[bool] = False
    shape: tuple[int, ...]
    measured: tuple[int, ...]

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """A(x): (B, *shape) to (B, *measured), in x's dtype and place."""

    def check(self, y: Tensor) -> Tensor:
        """A measurement (*measured), as `apply` could have made it; InputError where its shape is another."""
        if tuple(y.shape) != self.measured:
            raise InputError(
                f"the measurement has shape {_written(y.shape)}, and the operator {type(self).__name__} makes "
                f"{_written(self.measured)} of a sample of shape {_written(self.shape)}"
            )
        if not bool(y.isfinite().all()):
            raise InputError("the measurement holds numbers that are not finite: remove or replace them")
        return y

    @property
    def count(self) -> int:
        """How many numbers a measurement tells."""
        return math.prod(self.measured)


@dataclass(frozen=True)
class SVD:
    """A = U diag(s) V^T: `v` (B, r) to (B, *shape), `vt` back, `ut` (B, *measured) to (B, r); s (r,), s >= 0.

    r may be below the dimension of x: what V does not span has the singular value 0. Entries of s may be 0 too.
    """

    s: Tensor
    v: Callable[[Tensor], Tensor]
    vt: Callable[[Tensor], Tensor]
    ut: Callable[[Tensor], Tensor]


class LinearOperator(Operator):
    """A linear A, with its adjoint: <A x, y> = <x, A* y>.

    A new one defines `shape`, `measured` and `apply`. The adjoint comes by differentiation, and the singular values
    from the matrix where x has at most `DENSE` numbers; both may be overridden by something quicker.
    """

    linear = True

    def adjoint(self, y: Tensor) -> Tensor:
        """A* y: (B, *measured) to (B, *shape)."""
        with torch.enable_grad():
            x = y.new_zeros((len(y), *self.shape)).requires_grad_()
            (found,) = torch.autograd.grad(self.apply(x), x, y.detach())
        return found

    def matrix(self) -> Tensor:
        """A on flattened samples, (m, d), float64. InputError where that would be too large."""
        d = math.prod(self.shape)
        if d > DENSE:
            raise InputError(
                f"{type(self).__name__}: its matrix on {d} numbers is too large, and it knows no shorter way to its "
                f"singular values (they are found up to {DENSE} numbers): use a method that needs none, such as mmps"
            )
        return self.apply(torch.eye(d, dtype=torch.float64).view(d, *self.shape)).flatten(1).T.contiguous()

    def svd(self) -> SVD:
        """Singular values and vectors; computed once."""
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
    """A linear A with A A* = gain on what it can measure: its singular values are all the root of the gain."""

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
    """Raise InputError where A is not linear, or `adjoint` is not its adjoint, by the dot-product test in float64.

    <A x, y> = <x, A* y> for random x and y; the message says by how much it fails, in parts of |A x| |y|.
    """
    generator = torch.Generator().manual_seed(seed)
    x, z = torch.randn(2, 1, *operator.shape, generator=generator, dtype=torch.float64)
    y = torch.randn(1, *operator.measured, generator=generator, dtype=torch.float64)
    ax, az = operator.apply(x), operator.apply(z)
    if ax.shape != y.shape:
        raise InputError(f"the operator makes {_written(ax.shape[1:])} and says that it makes {_written(y.shape[1:])}")
    bent = float((operator.apply(2 * x - 3 * z) - 2 * ax + 3 * az).norm() / (2 * ax.norm() + 3 * az.norm()))
    if not bent <= 1e-5:
        raise InputError(
            f"the operator is not linear: A(2 x - 3 z) is off from 2 A(x) - 3 A(z) by {bent:.2g} of their length; "
            "wrap it in NonLinear, and use dps"
        )
    back = operator.adjoint(y)
    if back.shape != x.shape:
        raise InputError(
            f"the adjoint makes {_written(back.shape[1:])} of a measurement; it should make {_written(x.shape[1:])}"
        )
    there, here = float((ax * y).sum()), float((x * back).sum())
    off = abs(there - here) / max(float(ax.norm() * y.norm()), float(x.norm() * back.norm()), 1e-300)
    if not off <= 1e-5:
        raise InputError(
            f"the adjoint is not that of the operator: <A x, y> = {there:.6g} and <x, A* y> = {here:.6g} for random x "
            f"and y, a difference of {off:.2g} of |A x| |y|; leave the adjoint out to have it by differentiation"
        )


def _written(shape: torch.Size | tuple[int, ...]) -> str:
    """A shape as people write it."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
