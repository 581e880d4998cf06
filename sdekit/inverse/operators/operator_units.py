"""From the user's units to the model's: a measurement of the data, as one of what the model sees."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Units
from sdekit.errors import InputError

from .matrices import NonLinear
from .operator import LinearOperator, Operator


class Scaled(LinearOperator):
    """A (scale x), scale of the sample's shape: an operator on data whose columns have scales of their own."""

    def __init__(self, operator: LinearOperator, scale: Tensor) -> None:
        self.operator, self.scale = operator, scale
        self.shape, self.measured = operator.shape, operator.measured

    @property
    def count(self) -> int:
        return self.operator.count

    def check(self, y: Tensor) -> Tensor:
        return self.operator.check(y)

    def apply(self, x: Tensor) -> Tensor:
        return self.operator.apply(self.scale.to(x) * x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.scale.to(y) * self.operator.adjoint(y)


def in_model_units(
    operator: Operator, units: Units, measurement: Tensor, noise_std: float
) -> tuple[Operator, Tensor, float]:
    """The operator on x = (data - shift) / scale, the measurement (*measured) and the noise that go with it.

    For linear A and one scale, A itself on (y - A(shift)) / scale; where columns have scales of their own, A (scale x)
    and y - A(shift); for other operators A(scale x + shift) and y as it is.
    """
    shift, scale = (torch.as_tensor(np.asarray(v), dtype=torch.float64) for v in (units.shift, units.scale))
    y = operator.check(measurement.double())
    if not isinstance(operator, LinearOperator):
        whole = operator.apply
        return NonLinear(operator.shape, lambda x: whole(scale.to(x) * x + shift.to(x))), y, noise_std
    y = y - operator.apply(shift.expand(operator.shape)[None])[0]
    if scale.ndim:
        return Scaled(operator, scale.expand(operator.shape)), y, noise_std
    return operator, y / scale, noise_std / float(scale)


def measured_from(array: np.ndarray, operator: Operator, units: Units, where: str) -> Tensor:
    """A measurement (*measured) from an array as people keep it: grey images without a channel, or channels last.

    InputError, with both shapes, for one that the operator cannot have made.
    """
    y = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
    wanted = operator.measured
    if tuple(y.shape) != wanted and y.ndim == len(wanted) and tuple(y.movedim(-1, 0).shape) == wanted:
        y = y.movedim(-1, 0)
    if tuple(y.shape) != wanted and wanted[:1] == (1,) and tuple(y.shape) == wanted[1:]:
        y = y[None]
    if tuple(y.shape) != wanted and y.ndim == 3 and y.shape[-1] == 3 and wanted == (1, *y.shape[:2]):
        y = (y @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64))[None]  # a grey picture kept with colours
    try:
        return operator.check(y)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
