"""What is measured of x: masks, averages, blurs, projections, any matrix, any function."""

from .base import LinearOperator, Operator
from .fourier import Blur, FourierMask, Magnitude
from .matrix import Function, Matrix, NonLinear
from .pixels import Average, Grayscale, Identity, Mask
from .radon import Radon

__all__ = [
    "Average",
    "Blur",
    "FourierMask",
    "Function",
    "Grayscale",
    "Identity",
    "LinearOperator",
    "Magnitude",
    "Mask",
    "Matrix",
    "NonLinear",
    "Operator",
    "Radon",
]
