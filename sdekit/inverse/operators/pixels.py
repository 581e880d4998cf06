"""Operators that act on pixels: keep some, average some, drop the colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdekit.errors import InputError

from .operator import SVD, LinearOperator, TightFrame
from .operator_files import read_mask

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


class Identity(TightFrame):
    """A x = x: the measurement is the sample itself, with noise; restoring it is denoising."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = self.measured = tuple(shape)

    def apply(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


class Mask(LinearOperator):
    """A x = keep x: some numbers are known, the others are 0 in the measurement, which has the sample's shape.

    keep: (*shape), 0 or 1 (or true and false).
    """

    def __init__(self, keep: Tensor) -> None:
        self.keep = (torch.as_tensor(keep) != 0).double()
        self.shape = self.measured = tuple(self.keep.shape)
        if not bool(self.keep.any()):
            raise InputError("Mask: keeps nothing: there is no measurement")

    @property
    def count(self) -> int:
        return int(self.keep.sum())

    def check(self, y: Tensor) -> Tensor:
        """What lies in the holes is left out."""
        return self.apply(super().check(torch.where(self.keep.to(y.device) > 0, y, 0) if y.shape == self.shape else y))

    def apply(self, x: Tensor) -> Tensor:
        return self.keep.to(x) * x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.apply(y)

    def svd(self) -> SVD:
        """The unit vectors of all numbers; the singular values are 1 and 0."""

        def flat(z: Tensor) -> Tensor:
            return z.flatten(1)

        return SVD(self.keep.flatten(), lambda c: c.view(-1, *self.shape), flat, flat)


class Average(TightFrame):
    """The mean of boxes of `factor` numbers a side: of the pixels of an image (C, H, W), of the entries of (d,).

    The measurement is (C, H / factor, W / factor) or (d / factor,). To undo it is super-resolution.
    """

    def __init__(self, shape: tuple[int, ...], factor: int = 2) -> None:
        self.shape, self.factor = tuple(shape), factor
        sides = self.shape[1:] if len(self.shape) > 1 else self.shape
        if factor < 1 or any(side % factor for side in sides):
            raise InputError(
                f"super-resolution: the factor must divide the sides {' x '.join(map(str, sides))}, got {factor}"
            )
        self.sides = len(sides)
        self.measured = (*self.shape[: -self.sides], *(side // factor for side in sides))
        self.gain = factor**-self.sides

    def apply(self, x: Tensor) -> Tensor:
        for axis in range(x.ndim - self.sides, x.ndim):
            x = x.unflatten(axis, (-1, self.factor)).mean(axis + 1)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        for axis in range(-self.sides, 0):
            y = y.repeat_interleave(self.factor, axis)
        return self.gain * y


class Grayscale(TightFrame):
    """The luma of an RGB image: (3, H, W) to (1, H, W), by weights 0.299, 0.587 and 0.114 (ITU-R BT.601).

    To undo it is colourisation.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[0] != 3:
            raise InputError(f"grayscale: needs RGB images (3, H, W), and a sample here has shape {tuple(shape)}")
        self.shape, self.measured = tuple(shape), (1, *shape[1:])
        self.gain = math.fsum(w * w for w in LUMA)

    def apply(self, x: Tensor) -> Tensor:
        return (x * x.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return y * y.new_tensor(LUMA).view(3, 1, 1)


def identity(shape: tuple[int, ...]) -> Identity:
    """All of x, with noise: to denoise."""
    return Identity(shape)


def mask(shape: tuple[int, ...], *, mask: str = "", keep: float = 0.5, seed: int = 0) -> Mask:
    """Some pixels (for vectors: entries) are known: inpainting.

    mask: an image or .npy file of the sample's size, white (1) where it is known. keep: without a mask, the share of
    pixels that is known, above 0 and at most 1, at random. seed: of their choice.
    """
    if mask:
        return Mask(read_mask(mask, shape))
    if not 0 < keep <= 1:
        raise InputError(f"mask: the share to keep must be above 0 and at most 1, got {keep}")
    places = shape[1:] if len(shape) == 3 else shape
    order = torch.randperm(math.prod(places), generator=torch.Generator().manual_seed(seed))
    kept = torch.zeros(math.prod(places), dtype=torch.float64)
    kept[order[: max(1, round(keep * len(order)))]] = 1
    return Mask(kept.view(places).expand(shape).contiguous())


def super_resolution(shape: tuple[int, ...], *, factor: int = 2) -> Average:
    """The mean of each box of factor x factor pixels (for vectors: of factor entries).

    factor: it divides the sides.
    """
    return Average(shape, factor)


def grayscale(shape: tuple[int, ...]) -> Grayscale:
    """The brightness of an RGB image: colourisation."""
    return Grayscale(shape)
