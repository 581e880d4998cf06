"""Slices through the middle of volumes, as grey or coloured images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .image_grids import image_grid

if TYPE_CHECKING:
    from PIL.Image import Image


def slices(pixels: np.ndarray, captions: Sequence[str] | None = None) -> Image:
    """Show three slices through the middle of each volume: across the first, the second and the third axis.

    Arguments:
        pixels: Volumes (N, D, H, W, 1 or 3), uint8.
        captions: Text below the slices of each volume, or None.
    Returns:
        One row for each volume, or two volumes in a row if there are more than 4. Smaller slices are padded with
        black.
    """
    n, depth, height, width, channels = pixels.shape
    middle = [pixels[:, depth // 2], pixels[:, :, height // 2], pixels[:, :, :, width // 2]]
    size = max(depth, height), max(height, width)
    padded = [
        np.pad(part, ((0, 0), (0, size[0] - part.shape[1]), (0, size[1] - part.shape[2]), (0, 0))) for part in middle
    ]
    images = np.stack(padded, axis=1).reshape(-1, *size, channels)
    texts = [text for caption in captions[:n] for text in (caption, "", "")] if captions else None
    return image_grid(images, 3 if n <= 4 else 6, captions=texts)
