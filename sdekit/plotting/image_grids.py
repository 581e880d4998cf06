"""Images as pixels, grids of images, and pictures side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdekit.data import Units

CAPTION = 14
"""Height in pixels of the text below an image."""
CELL = 64
"""Size in pixels to which `image_grid` enlarges smaller images, approximately."""
HEADER, GAP = 24, 12
"""Height in pixels of the titles, and width of the gap between two pictures side by side."""


def to_pixels(data: np.ndarray, units: Units) -> np.ndarray:
    """Convert images or volumes from the units of the data to pixels.

    Arguments:
        data: Images or volumes, (N, *item), in the layout of the units.
        units: Units of the data: `low` is black and `high` is white. If they are None, the smallest number of the
            data is black and the largest is white.
    Returns:
        Pixels, (N, H, W, 1 or 3) or (N, D, H, W, 1 or 3), uint8. Of two channels the first is used, and of more than
            three the first three.
    """
    low = float(data.min()) if units.low is None else units.low
    high = float(data.max()) if units.high is None else units.high
    pixels: np.ndarray = np.rint(((data.astype(np.float64) - low) / (high - low or 1.0)).clip(0, 1) * 255).astype(
        np.uint8
    )
    pixels = np.moveaxis(units.channels_first(pixels), 1, -1)
    return pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1]


def picture(pixels: np.ndarray) -> Image:
    """Convert pixels to a Pillow image.

    Arguments:
        pixels: One image, (H, W, 1 or 3), uint8.
    Returns:
        The image.
    """
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def image_grid(pixels: np.ndarray, columns: int | None = None, captions: Sequence[str] | None = None) -> Image:
    """Arrange images in a grid, row by row, with thin gaps; small images are enlarged without smoothing.

    Arguments:
        pixels: Images, (N, H, W, C), uint8.
        columns: Number of columns; about sqrt(N) if None.
        captions: Text below each image, such as the name of its class, at least N of them; cut to the width of the
            image. None for no text.
    Returns:
        The grid as one image.
    """
    from PIL import Image

    n, height, width, channels = pixels.shape
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    rows = math.ceil(n / columns)
    factor, gap = max(1, CELL // max(height, width)), 2
    cell_h, cell_w = height * factor + gap + (CAPTION if captions else 0), width * factor + gap
    canvas = np.full((rows * cell_h + gap, columns * cell_w + gap, channels), 96, np.uint8)
    for i, image in enumerate(pixels.repeat(factor, 1).repeat(factor, 2)):
        top, left = gap + i // columns * cell_h, gap + i % columns * cell_w
        canvas[top : top + height * factor, left : left + width * factor] = image
    grid = Image.fromarray(canvas[..., 0] if channels == 1 else canvas)
    if captions:
        _write_captions(grid, captions[:n], columns, cell_w, cell_h)
    return grid


def _write_captions(grid: Image, captions: Sequence[str], columns: int, width: int, height: int) -> None:
    """Write a text into the lowest pixels of each cell of a grid."""
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(grid), ImageFont.load_default()
    for i, caption in enumerate(captions):
        text = caption.encode("ascii", "replace").decode()  # the characters of Pillow's own font
        while text and draw.textlength(text, font) > width - 2:
            text = text[:-1]
        top = 2 + i // columns * height + height - CAPTION - 2
        draw.text((3 + i % columns * width, top), text, fill="white", font=font)


def side_by_side(pictures: Sequence[Image], titles: Sequence[str]) -> Image:
    """Arrange pictures from left to right, with a title above each.

    Arguments:
        pictures: The pictures.
        titles: Title of each picture.
    Returns:
        One picture.
    """
    from PIL import Image, ImageDraw, ImageFont

    width = sum(part.width for part in pictures) + GAP * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, HEADER + max(part.height for part in pictures)), "white")
    draw, font, left = ImageDraw.Draw(canvas), ImageFont.load_default(), 0
    for part, title in zip(pictures, titles, strict=True):
        draw.text((left + 4, 6), title, fill="black", font=font)
        canvas.paste(part.convert("RGB"), (left, HEADER))
        left += part.width + GAP
    return canvas
