"""The Radon transform: sums of an image along parallel lines, at several angles."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from sdekit.errors import InputError

from .operator import LinearOperator


class Radon(LinearOperator):
    """Sums along parallel lines of an image (C, N, N), rotated by several angles, divided by N: (C, angles, N).

    The image is rotated by bilinear interpolation and is 0 outside. Its inverse problem is tomography.

    Arguments:
        shape: Shape of a sample, (C, N, N).
        angles: Number of angles, evenly spaced in [0, pi), at least 1.
    Raises:
        InputError: If the images are not square, or there is no angle.
    """

    def __init__(self, shape: tuple[int, ...], angles: int = 16) -> None:
        if len(shape) != 3 or shape[1] != shape[2]:
            raise InputError(f"radon: needs square images (C, N, N), and a sample here has shape {tuple(shape)}")
        if angles < 1:
            raise InputError(f"radon: needs at least one angle, got {angles}")
        self.shape, self.angles = tuple(shape), angles
        self.measured = (shape[0], angles, shape[2])
        angle = torch.arange(angles, dtype=torch.float64) * (math.pi / angles)
        zero = torch.zeros_like(angle)
        rotation = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero], 1).view(-1, 2, 3)
        self.grid = functional.affine_grid(rotation, [angles, 1, *shape[1:]], align_corners=False)

    def apply(self, x: Tensor) -> Tensor:
        b, c, n, _ = x.shape
        grid = self.grid.to(x).repeat_interleave(b, 0)
        rotated = functional.grid_sample(x.repeat(self.angles, 1, 1, 1), grid, align_corners=False)
        return rotated.mean(2).view(self.angles, b, c, n).permute(1, 2, 0, 3)


def radon(shape: tuple[int, ...], *, angles: int = 16) -> Radon:
    """Sums along parallel lines at several angles, for tomography.

    Arguments:
        shape: Shape of a sample, (C, N, N).
        angles: Number of angles, evenly spaced in [0, pi), at least 1.
    Returns:
        The operator.
    """
    return Radon(shape, angles)
