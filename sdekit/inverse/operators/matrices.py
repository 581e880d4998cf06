"""Operators given by a matrix, by a linear function with or without its adjoint, or by a differentiable function."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sdekit.errors import InputError

from .operator import LinearOperator, Operator, check_linear
from .operator_files import read_array


class Matrix(LinearOperator):
    """Multiplication of the flattened sample by a matrix: (*shape) to (m,).

    Arguments:
        weights: The matrix, (m, d).
        shape: Shape of a sample of d numbers; (d,) if None.
    Raises:
        InputError: If the matrix does not have two axes, or d is not the size of a sample.
    """

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
    """A linear function, with a given adjoint or one that is computed by automatic differentiation.

    Arguments:
        shape: Shape of a sample.
        function: Linear function, (B, *shape) to (B, *measured).
        adjoint: Its adjoint, (B, *measured) to (B, *shape); None to use automatic differentiation.
    Raises:
        InputError: If, for random numbers, the function is not linear or `adjoint` is not its adjoint.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        function: Callable[[Tensor], Tensor],
        adjoint: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.shape, self._function, self._adjoint = tuple(shape), function, adjoint
        self.measured = _measured_shape(function, self.shape)
        check_linear(self)

    def apply(self, x: Tensor) -> Tensor:
        return self._function(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return super().adjoint(y) if self._adjoint is None else self._adjoint(y)


class NonLinear(Operator):
    """A differentiable function that need not be linear, for `dps`.

    Arguments:
        shape: Shape of a sample.
        function: Differentiable function, (B, *shape) to (B, *measured).
    Raises:
        InputError: If the function does not keep the batch as its first axis.
    """

    def __init__(self, shape: tuple[int, ...], function: Callable[[Tensor], Tensor]) -> None:
        self.shape, self._function = tuple(shape), function
        self.measured = _measured_shape(function, self.shape)

    def apply(self, x: Tensor) -> Tensor:
        return self._function(x)


def _measured_shape(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one measurement, from a call of the function on zeros."""
    result = function(torch.zeros(2, *shape, dtype=torch.float64))
    if result.ndim < 2 or len(result) != 2:
        raise InputError(
            f"the function makes {tuple(result.shape)} of two samples {(2, *shape)}: the first axis must be the batch"
        )
    return tuple(result.shape[1:])


def matrix(shape: tuple[int, ...], *, matrix: str = "") -> Matrix:
    """Multiplication of the flattened sample by any matrix.

    Arguments:
        shape: Shape of a sample of d numbers.
        matrix: File (.npy) with the matrix, of shape (m, d).
    Returns:
        The operator.
    Raises:
        InputError: If the file is missing, or does not contain a matrix with d columns.
    """
    if not matrix:
        raise InputError("matrix: say which matrix to use, with matrix=FILE (.npy, of shape (m, d))")
    weights = read_array(matrix, "matrix")
    if weights.ndim != 2 or weights.shape[1] != math.prod(shape):
        raise InputError(
            f"matrix {matrix}: has shape {weights.shape}; it needs {math.prod(shape)} columns, for a sample of shape "
            f"{tuple(shape)}"
        )
    return Matrix(torch.from_numpy(weights), shape)
