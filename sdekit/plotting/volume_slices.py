"""Slices through the middle of volumes, as grey or coloured images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .image_grids import image_grid

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_VOLUMES = 16
"""Largest number of volumes in a picture."""


def slices(pixels: np.ndarray, captions: Sequence[str] | None = None) -> Image:
    """Show three slices through the middle of each volume: across the first, the second and the third axis.

    Arguments:
        pixels: Volumes (N, D, H, W, 1 or 3), uint8, of which the first 16 are shown.
        captions: Text below the slices of each volume, or None.
    Returns:
        One row for each volume, or two volumes in a row if there are more than 4. Smaller slices are padded with
        black.
    """
    shown = pixels[:MOST_VOLUMES]
    _, depth, height, width, _ = shown.shape
    middle = [shown[:, depth // 2], shown[:, :, height // 2], shown[:, :, :, width // 2]]
    size = max(depth, height), max(height, width)
    padded = [
        np.pad(part, ((0, 0), (0, size[0] - part.shape[1]), (0, size[1] - part.shape[2]), (0, 0))) for part in middle
    ]
    images = np.stack(padded, axis=1).reshape(-1, *size, shown.shape[-1])
    texts = [text for caption in captions[: len(shown)] for text in (caption, "", "")] if captions else None
    return image_grid(images, 3 if len(shown) <= 4 else 6, captions=texts)
