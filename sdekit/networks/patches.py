"""Patches of sequences, images and volumes as channels, which lower the number of positions of a network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def to_patches(x: Tensor, patch: int) -> Tensor:
    """Map each patch to the channels of one position. Sides are padded at their end with zeros to multiples of `patch`.

    Arguments:
        x: Tensor (B, C, *sides) with d sides.
        patch: Side of a patch.
    Returns:
        Tensor (B, C patch^d, *sides / patch), the sides rounded up.
    """
    sides = x.shape[2:]
    x = F.pad(x, [n for side in reversed(sides) for n in (0, -side % patch)])
    for axis in range(len(sides)):  # (B, C patch^axis, ...) -> (B, C patch^axis, patch, ...)
        x = x.unflatten(2 + axis, (-1, patch)).movedim(3 + axis, 2).flatten(1, 2)
    return x


def from_patches(x: Tensor, patch: int, sides: Sequence[int]) -> Tensor:
    """Inverse of `to_patches`.

    Arguments:
        x: Tensor (B, C patch^d, *sides / patch), the sides rounded up.
        patch: Side of a patch.
        sides: The d sides of the result.
    Returns:
        Tensor (B, C, *sides).
    """
    for axis, side in reversed(list(enumerate(sides, 2))):
        x = x.unflatten(1, (-1, patch)).movedim(2, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, side)
    return x
