"""Conversion of a measurement and its operator from the units of the data to the units of the model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Units
from sdekit.errors import InputError

from .matrices import NonLinear
from .operator import LinearOperator, Operator
from .pixels import Mask


class Scaled(LinearOperator):
    """The operator A (scale x), for data with columns of different scales.

    Arguments:
        operator: The linear operator A.
        scale: Scales, of the shape of a sample.
    """

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


class Decoded(Operator):
    """The operator z -> A(decode(z)) on latents, which is not linear even if A is.

    Arguments:
        operator: The operator A on data in the units of the codec.
        shape: Shape of one latent.
        decode: Differentiable function from latents (B, *shape) to data.
    """

    def __init__(self, operator: Operator, shape: tuple[int, ...], decode: Callable[[Tensor], Tensor]) -> None:
        self.operator, self.decode = operator, decode
        self.shape, self.measured = tuple(shape), operator.measured

    @property
    def count(self) -> int:
        return self.operator.count

    def check(self, y: Tensor) -> Tensor:
        return self.operator.check(y)

    def apply(self, x: Tensor) -> Tensor:
        return self.operator.apply(self.decode(x))


def in_model_units(
    operator: Operator, units: Units, measurement: Tensor, noise_std: float
) -> tuple[Operator, Tensor, float]:
    """Convert an inverse problem from the units of the data to the units of the model, x = (data - shift) / scale.

    If A is linear and there is one scale, the new operator is A, the new measurement is (y - A(shift)) / scale, and the
    new noise_std is noise_std / scale. If columns or channels have different scales, the results are A (scale x),
    y - A(shift) and noise_std. If A is not linear, the results are A(scale x + shift), y and noise_std.

    If columns have curves (`Units.quantiles`), only a mask is accepted. The measured numbers are converted, and
    noise_std is then in the units of the model.

    Arguments:
        operator: Operator on samples in the units of the data.
        units: Shift and scale of the data.
        measurement: The measurement y, (*measured).
        noise_std: Standard deviation of the noise in the measurement.
    Returns:
        Operator, measurement and noise_std in the units of the model.
    Raises:
        InputError: If columns have curves and the operator is not a mask.
    """
    if units.quantiles:
        if not isinstance(operator, Mask):
            raise InputError(
                "the columns of this model have nonlinear units, so that only columns can be measured, and no "
                "function of several columns: train with --option data.scale=columns"
            )
        y = torch.from_numpy(units.model_values(operator.check(measurement.double()).numpy()[None])[0])
        return operator, operator.check(y), noise_std
    shift, scale = (torch.from_numpy(v).double() for v in units.shift_and_scale(len(operator.shape)))
    y = operator.check(measurement.double())
    if not isinstance(operator, LinearOperator):
        apply = operator.apply
        return NonLinear(operator.shape, lambda x: apply(scale.to(x) * x + shift.to(x))), y, noise_std
    y = y - operator.apply(shift.expand(operator.shape)[None])[0]
    if scale.ndim:
        return Scaled(operator, scale.expand(operator.shape)), y, noise_std
    return operator, y / scale, noise_std / float(scale)


def measurement_from_array(array: np.ndarray, operator: Operator, label: str) -> Tensor:
    """Convert an array in one of the usual layouts of images to a measurement.

    A grey image may lack its channel, and an image in colours may have its channels last. If the operator measures a
    grey image, an image in colours is converted to its luma.

    Arguments:
        array: The array.
        operator: The operator.
        label: Name of the array for messages.
    Returns:
        The measurement, (*measured), float64.
    Raises:
        InputError: If the array does not have the shape of a measurement; the message contains both shapes.
    """
    try:
        return operator.check(_arranged(array, operator.measured))
    except InputError as error:
        raise InputError(f"{label}: {error}") from None


def leave_out_holes(operator: Operator, array: np.ndarray, *, only_holes: bool, label: str) -> Operator:
    """Return a mask that measures the numbers of a measurement that are not missing.

    Arguments:
        operator: The operator, which must be a mask.
        array: The measurement, with NaN at missing numbers.
        only_holes: Whether the holes alone are the mask. Otherwise the numbers measured by the operator remain, without
            the holes.
        label: Name of the array for messages.
    Returns:
        The mask, or the operator unchanged if the array has another shape than a sample.
    Raises:
        InputError: If the operator is not a mask, or if nothing remains to measure.
    """
    holes = torch.isnan(_arranged(array, operator.measured))
    if not isinstance(operator, Mask):
        raise InputError(
            f"{label}: {int(holes.sum())} of {holes.numel()} numbers are missing (NaN, or transparent pixels), and "
            "only a mask leaves out numbers: use --operator mask, or fill in the numbers"
        )
    if holes.shape != operator.keep.shape:
        return operator
    keep = ~holes if only_holes else (operator.keep > 0) & ~holes
    if not bool(keep.any()):
        raise InputError(f"{label}: every number that the mask measures is missing")
    known = "the numbers of the measurement that are not missing"
    return Mask(keep, known if only_holes else f"{operator.description}, of these {known}")


def _arranged(array: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """Return an array with channels first, or as grey image, if it then has the shape of a measurement."""
    y = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))
    if tuple(y.shape) != shape and y.ndim == len(shape) and tuple(y.movedim(-1, 0).shape) == shape:
        y = y.movedim(-1, 0)
    if tuple(y.shape) != shape and shape[:1] == (1,) and tuple(y.shape) == shape[1:]:
        y = y[None]
    if tuple(y.shape) != shape and y.ndim == 3 and y.shape[-1] == 3 and shape == (1, *y.shape[:2]):
        y = (y @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64))[None]  # a grey image stored with colours
    return y
