"""Operators on pixels: masks, averages over boxes, and conversion to grey."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdekit.arguments import check_instance
from sdekit.errors import InputError

from .operator import SVD, LinearOperator, TightFrame
from .operator_files import has_holes, read_mask

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


class Identity(TightFrame):
    """A x = x: the measurement is the sample with noise. Its inverse problem is denoising.

    Arguments:
        shape: Shape of a sample.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = self.measured = tuple(shape)

    def apply(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        return y


class Mask(LinearOperator):
    """A x = keep x: the measurement has the shape of a sample and is 0 at numbers that are not measured.

    Arguments:
        keep: The mask, of the shape of a sample; not 0 at numbers that are measured.
        description: Phrase about the measured numbers, such as "the white pixels of m.png".
    Raises:
        InputError: If the mask is 0 everywhere.
    """

    def __init__(self, keep: Tensor, description: str = "") -> None:
        self.description = description
        self.keep = (torch.as_tensor(keep) != 0).double()
        self.shape = self.measured = tuple(self.keep.shape)
        if not bool(self.keep.any()):
            raise InputError("Mask: the mask is 0 everywhere, so that nothing is measured")

    @property
    def count(self) -> int:
        return int(self.keep.sum())

    def check(self, y: Tensor) -> Tensor:
        check_instance("the measurement", y, Tensor, "a tensor")
        """Return the measurement with 0 at numbers that are not measured, even if the input is not finite there."""
        return self.apply(super().check(torch.where(self.keep.to(y.device) > 0, y, 0) if y.shape == self.shape else y))

    def apply(self, x: Tensor) -> Tensor:
        return self.keep.to(x) * x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.apply(y)

    def svd(self) -> SVD:
        """Return the SVD with the unit vectors as its basis; the singular values are 1 and 0."""

        def flat(z: Tensor) -> Tensor:
            return z.flatten(1)

        return SVD(self.keep.flatten(), lambda c: c.view(-1, *self.shape), flat, flat)


class Average(TightFrame):
    """Mean of each box of factor x factor pixels, or of `factor` entries of a vector.

    The measurement is (C, H / factor, W / factor) or (d / factor,). Its inverse problem is super-resolution.

    Arguments:
        shape: Shape of a sample, (C, H, W) or (d,).
        factor: Side of a box, at least 1; it must divide H and W, or d.
    Raises:
        InputError: If the factor does not divide the sides.
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
    """Luma of an RGB image, (3, H, W) to (1, H, W), with the weights 0.299, 0.587 and 0.114.

    Its inverse problem is colourisation.

    Arguments:
        shape: Shape of a sample, (3, H, W).
    Raises:
        InputError: If a sample is not an RGB image.
    Source:
        ITU-R BT.601.
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
    """The sample itself, for denoising.

    Arguments:
        shape: Shape of a sample.
    Returns:
        The operator.
    """
    return Identity(shape)


def mask(
    shape: tuple[int, ...], *, mask: str = "", invert: bool = False, keep: float = 0.5, first: int = 0, seed: int = 0
) -> Mask:
    """Some pixels of an image, or some entries of a vector or sequence, for inpainting and forecasting.

    Arguments:
        shape: Shape of a sample.
        mask: Image or .npy file of the size of a sample, white (1) at pixels that are measured. If the transparency of
            the image varies, its opaque pixels are measured.
        invert: Whether the other pixels of the mask are measured instead.
        keep: Without a mask, the share of pixels that is measured, chosen at random, in (0, 1].
        first: Number of values at the start of a sequence that are measured, so that the others are forecast. 0 for no
            such rule.
        seed: Seed of the random choice.
    Returns:
        The operator.
    Raises:
        InputError: If keep or first is out of range, or the file is not a mask of the size of a sample.
    """
    if first:
        if mask or len(shape) != 2 or not 0 < first < shape[-1]:
            raise InputError(
                f"mask: first={first} is for sequences, without a mask, and must be from 1 to {shape[-1] - 1}; a "
                f"sample here has shape {tuple(shape)}"
            )
        keep_start = torch.zeros(shape, dtype=torch.float64)
        keep_start[..., :first] = 1
        return Mask(keep_start, f"the first {first} of {shape[-1]} values")
    if mask:
        kind = ("transparent" if invert else "opaque") if has_holes(mask) else "black" if invert else "white"
        return Mask(read_mask(mask, shape, invert=invert), f"the {kind} pixels of {mask}")
    if invert:
        raise InputError("mask: invert needs a mask: mask:mask=FILE,invert=true")
    if not 0 < keep <= 1:
        raise InputError(f"mask: the share to keep must be above 0 and at most 1, got {keep}")
    places = shape[1:] if len(shape) > 1 else shape
    order = torch.randperm(math.prod(places), generator=torch.Generator().manual_seed(seed))
    pixels = torch.zeros(math.prod(places), dtype=torch.float64)
    pixels[order[: max(1, round(keep * len(order)))]] = 1
    return Mask(pixels.view(places).expand(shape).contiguous(), f"a share of {keep:g}, chosen at random")


def super_resolution(shape: tuple[int, ...], *, factor: int = 2) -> Average:
    """Mean of each box of factor x factor pixels, or of `factor` vector entries, for super-resolution.

    Arguments:
        shape: Shape of a sample.
        factor: Side of a box, at least 1; it must divide the sides of a sample.
    Returns:
        The operator.
    """
    return Average(shape, factor)


def grayscale(shape: tuple[int, ...]) -> Grayscale:
    """Brightness of an RGB image, for colourisation.

    Arguments:
        shape: Shape of a sample, (3, H, W).
    Returns:
        The operator.
    """
    return Grayscale(shape)
