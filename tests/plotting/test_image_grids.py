"""Plotting: exact pixels of tiny grids, for every layout and number of channels."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sdekit.data import Units
from sdekit.plotting import CELL, image_grid, picture, png, scatter, to_pixels


def opened(content: bytes) -> np.ndarray:
    """Return the pixels of a PNG file."""
    image = Image.open(BytesIO(content))
    assert image.format == "PNG"
    return np.asarray(image)


def test_low_is_black_and_high_white() -> None:
    """units.low becomes 0 and units.high 255; numbers between them are rounded, and others are clipped."""
    data = np.array([[[-3.0, 0.0, 4.0], [8.0, 16.0, 99.0]]])
    pixels = to_pixels(data, Units(layout="hw", low=0.0, high=16.0))
    assert pixels.dtype == np.uint8 and pixels.shape == (1, 2, 3, 1)
    assert pixels[0, :, :, 0].tolist() == [[0, 0, 64], [128, 255, 255]]


def test_own_range_where_none_is_known() -> None:
    """Without low and high, the smallest number is black and the largest white; constant data are allowed."""
    pixels = to_pixels(np.array([[[1.0, 2.0]], [[3.0, 5.0]]]), Units(layout="hw"))
    assert pixels.ravel().tolist() == [0, 64, 128, 255]
    assert to_pixels(np.full((1, 2, 2), 7.0), Units(layout="hw")).max() == 0


@pytest.mark.parametrize(("channels", "drawn"), [(1, 1), (2, 1), (3, 3), (4, 3)])
@pytest.mark.parametrize("layout", ["same", "hwc"])
def test_layouts_and_channels(layout: str, channels: int, drawn: int) -> None:
    """Channels first and last give the same pixels; of two channels the first is used, of four the first three."""
    data = np.arange(2 * channels * 2 * 3).reshape(2, channels, 2, 3).astype(np.float32)
    units = Units(layout=layout, low=0.0, high=255.0)
    pixels = to_pixels(data if layout == "same" else data.transpose(0, 2, 3, 1), units)
    assert pixels.shape == (2, 2, 3, drawn)
    assert np.array_equal(pixels, data.transpose(0, 2, 3, 1)[..., :drawn].astype(np.uint8))
    image = picture(pixels[1])
    assert image.mode == ("L" if drawn == 1 else "RGB") and image.size == (3, 2)
    assert np.array_equal(np.asarray(image).reshape(2, 3, drawn), pixels[1])
    assert image_grid(pixels).mode == image.mode


def test_grid_pixel_by_pixel() -> None:
    """Two images of 64 x 64 pixels in one row are unchanged, with a frame and a gap of 2 grey pixels."""
    images = np.stack([np.full((CELL, CELL, 1), value, np.uint8) for value in (10, 200)])
    images[0, 5, 7] = 255
    expected = np.full((CELL + 4, 2 * CELL + 6), 96, np.uint8)
    expected[2:-2, 2 : 2 + CELL] = 10
    expected[2:-2, 4 + CELL : -2] = 200
    expected[7, 9] = 255
    assert np.array_equal(np.asarray(image_grid(images)), expected)


def test_small_images_are_enlarged_sharply() -> None:
    """A 2 x 2 image becomes four squares of 32 x 32 equal pixels."""
    image = np.array([[0, 50], [100, 255]], np.uint8)
    grid = np.asarray(image_grid(image[None, :, :, None]))
    assert np.array_equal(grid[2:-2, 2:-2], image.repeat(32, 0).repeat(32, 1))


@pytest.mark.parametrize(
    ("n", "columns", "shape"), [(1, None, (1, 1)), (5, None, (2, 3)), (9, None, (3, 3)), (4, 4, (1, 4))]
)
def test_rows_and_columns(n: int, columns: int | None, shape: tuple[int, int]) -> None:
    """A grid is about square by default and is filled row by row; the rest stays grey."""
    images = np.stack([np.full((64, 64, 3), i, np.uint8) for i in range(n)])
    grid = np.asarray(image_grid(images, columns))
    assert grid.shape == (66 * shape[0] + 2, 66 * shape[1] + 2, 3)
    middles = grid[34::66, 34::66, 0].ravel().tolist()
    assert middles == [*range(n), *[96] * (shape[0] * shape[1] - n)]


def test_images_that_are_not_square() -> None:
    """The longer side determines how much a small image is enlarged."""
    assert image_grid(np.zeros((1, 8, 16, 3), np.uint8)).size == (16 * 4 + 4, 8 * 4 + 4)
    assert image_grid(np.zeros((1, 100, 70, 1), np.uint8)).size == (74, 104)


def test_png_keeps_every_pixel() -> None:
    """A PNG file contains the image."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    assert np.array_equal(opened(png(picture(pixels))), pixels)


def test_scatter() -> None:
    """Points are plotted over the reference, if there is one, in 720 x 720 pixels."""
    rng = np.random.default_rng(0)
    points, reference = rng.normal(size=(50, 2)), rng.normal(size=(80, 2))
    alone, over = opened(scatter(points)), opened(scatter(points, reference))
    assert alone.shape[:2] == over.shape[:2] == (720, 720)
    for image in (alone, over):
        assert ((image[..., 2].astype(int) - image[..., 0]) > 60).sum() > 200  # blue points
    assert not np.array_equal(alone, over) and np.array_equal(opened(scatter(points)), alone)


def test_captions_leave_the_images_unchanged() -> None:
    """Each image has a text below it that is cut to its width; any character is allowed."""
    images = np.full((3, CELL, CELL, 1), 10, np.uint8)
    plain = np.asarray(image_grid(images, 2, captions=["", "", ""]))
    grid = np.asarray(image_grid(images, 2, captions=["cat", "long " * 40, "\u732b"]))
    assert grid.shape == (2 * (CELL + 16) + 2, 2 * (CELL + 2) + 2) == plain.shape
    for row in range(2):
        top = 2 + row * (CELL + 16)
        assert np.array_equal(grid[top : top + CELL], plain[top : top + CELL])
        assert not np.array_equal(grid[top + CELL : top + CELL + 14], plain[top + CELL : top + CELL + 14])
    assert np.array_equal(grid[:, -2:], plain[:, -2:])


def test_scatter_has_a_colour_for_each_class() -> None:
    """Names with a special meaning in matplotlib, and many classes, are allowed."""
    points = np.random.default_rng(0).normal(size=(60, 2))
    one = scatter(points)
    two = scatter(points, classes=["_cat", "$dog", "$x$"] * 20)
    many = scatter(points, classes=[str(i) for i in range(60)])
    assert len({one, two, many}) == 3
