"""Any matrix, any linear function with or without its adjoint, any differentiable function."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sdekit.errors import InputError

from .operator import LinearOperator, Operator, check_linear
from .operator_files import read_array


class Matrix(LinearOperator):
    """A x for a matrix (m, d) and the flattened sample: (*shape) to (m,)."""

    def __init__(self, weights: Tensor, shape: tuple[int, ...] | None = None) -> None:
        self.weights = torch.as_tensor(weights, dtype=torch.float64)
        if self.weights.ndim != 2:
            raise InputError(f"Matrix: needs a matrix (m, d), got shape {tuple(self.weights.shape)}")
        self.shape = (self.weights.shape[1],) if shape is None else tuple(shape)
        if math.prod(self.shape) != self.weights.shape[1]:
            raise InputError(
                f"Matrix: {tuple(self.weights.shape)} takes {self.weights.shape[1]} numbers, and a sample of shape "
                f"{self.shape} has {math.prod(self.shape)}"
            )
        self.measured = (len(self.weights),)

    def apply(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weights.to(x).T

    def adjoint(self, y: Tensor) -> Tensor:
        return (y @ self.weights.to(y)).view(-1, *self.shape)

    def matrix(self) -> Tensor:
        return self.weights


class Function(LinearOperator):
    """Any linear function (B, *shape) to (B, *measured), with its adjoint or, without one, by differentiation.

    Both are tried on random numbers: InputError where the function is not linear, or the adjoint is another's.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        function: Callable[[Tensor], Tensor],
        adjoint: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.shape, self._function, self._adjoint = tuple(shape), function, adjoint
        self.measured = _measured(function, self.shape)
        check_linear(self)

    def apply(self, x: Tensor) -> Tensor:
        return self._function(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return super().adjoint(y) if self._adjoint is None else self._adjoint(y)


class NonLinear(Operator):
    """Any differentiable function (B, *shape) to (B, *measured): for `dps`."""

    def __init__(self, shape: tuple[int, ...], function: Callable[[Tensor], Tensor]) -> None:
        self.shape, self._function = tuple(shape), function
        self.measured = _measured(function, self.shape)

    def apply(self, x: Tensor) -> Tensor:
        return self._function(x)


def _measured(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a function makes of a sample's."""
    made = function(torch.zeros(2, *shape, dtype=torch.float64))
    if made.ndim < 2 or len(made) != 2:
        raise InputError(
            f"the function makes {tuple(made.shape)} of two samples {(2, *shape)}: the first axis must stay the batch"
        )
    return tuple(made.shape[1:])


def matrix(shape: tuple[int, ...], *, matrix: str = "") -> Matrix:
    """Any matrix on the flattened sample.

    matrix: a .npy file of shape (m, d), d numbers a sample.
    """
    if not matrix:
        raise InputError("matrix: say which, with matrix=FILE (.npy, of shape (m, d))")
    weights = read_array(matrix, "matrix")
    if weights.ndim != 2 or weights.shape[1] != math.prod(shape):
        raise InputError(
            f"matrix {matrix}: has shape {weights.shape}; it needs {math.prod(shape)} columns, for a sample of shape "
            f"{tuple(shape)}"
        )
    return Matrix(torch.from_numpy(weights), shape)
