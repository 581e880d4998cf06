"""The Radon transform: an image's sums along parallel lines, at several angles."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from sdekit.errors import InputError

from .operator import LinearOperator


class Radon(LinearOperator):
    """Line sums of an image (C, N, N) turned by each of `angles` angles in [0, pi): (C, angles, N), over N.

    The image is turned by bilinear interpolation, 0 outside; a sum is divided by N, so that a measurement is of the
    image's own size. To undo it is tomography.
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
        turn = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero], 1).view(-1, 2, 3)
        self.grid = functional.affine_grid(turn, [angles, 1, *shape[1:]], align_corners=False)

    def apply(self, x: Tensor) -> Tensor:
        b, c, n, _ = x.shape
        grid = self.grid.to(x).repeat_interleave(b, 0)
        turned = functional.grid_sample(x.repeat(self.angles, 1, 1, 1), grid, align_corners=False)
        return turned.mean(2).view(self.angles, b, c, n).permute(1, 2, 0, 3)


def radon(shape: tuple[int, ...], *, angles: int = 16) -> Radon:
    """Sums along parallel lines at several angles in [0, pi), as in tomography.

    angles: how many, evenly spaced, at least 1.
    """
    return Radon(shape, angles)
