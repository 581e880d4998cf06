"""Pictures of samples of every kind: images, volumes, sequences and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from sdekit.data.tables import columns_of

from .image_grids import image_grid, side_by_side, to_pixels
from .line_plots import lines, value_limits
from .pair_plots import named_columns, pairs
from .png_encoding import png
from .scatter_plot import scatter
from .volume_slices import slices

if TYPE_CHECKING:
    from sdekit.data import Column, Units

MOST_IN_GRID = {"image": 1024, "volume": 16, "sequence": 16}
"""Largest number of items in a picture of samples, by kind."""


def pictured_items(kind: str, shape: tuple[int, ...], table: Sequence[Column] = ()) -> int:
    """Return the number of items that a small picture shows.

    Arguments:
        kind: Kind of the items: "image", "volume", "sequence" or "vector".
        shape: Shape of an item in the model.
        table: Columns of a table, or empty.
    Returns:
        16 images or sequences, 4 volumes, 1024 points in the plane or rows of a table, and 0 for vectors without a
        picture.
    """
    if kind == "vector":
        return 1024 if shape == (2,) or len(table) > 1 else 0
    return 4 if kind == "volume" else 16


def sample_pictures(
    data: np.ndarray,
    *,
    kind: str,
    units: Units,
    columns: Sequence[str] = (),
    captions: Sequence[str] | None = None,
    sample_rate: float | None = None,
    table: Sequence[Column] = (),
    real: np.ndarray | None = None,
) -> dict[str, bytes]:
    """Draw all pictures of samples.

    Arguments:
        data: Samples in the units of the data, (N, *item).
        kind: Kind of the items: "image", "volume", "sequence" or "vector".
        units: Units of the data.
        columns: Names of the columns of vectors, or of the channels of sequences; empty if they have no names.
        captions: Name of the class of each sample, or None.
        sample_rate: Number of values of a sequence per second, or None if it is not known.
        table: Columns of a table, whose pairs are drawn, or empty.
        real: Rows of the table (M, d) in the units of the data, which are drawn in grey, or None.
    Returns:
        Contents of PNG files by file name. The first file is the picture to look at. Empty for data without pictures.
    """
    if kind == "vector":
        pictures = {"scatter.png": scatter(data, classes=captions)} if data.shape[1:] == (2,) else {}
        if len(table) > 1:
            pictures["pairs.png"] = pairs(columns_of(data, table), None if real is None else columns_of(real, table))
        return pictures
    shown = data[: MOST_IN_GRID[kind]]
    if kind == "volume":
        return {"slices.png": png(slices(to_pixels(shown, units), captions))}
    content = item_grid(shown, kind=kind, units=units, channels=columns, captions=captions, sample_rate=sample_rate)
    return {"grid.png" if kind == "image" else "lines.png": content}


def item_grid(
    data: np.ndarray,
    *,
    kind: str,
    units: Units,
    columns: int | None = None,
    channels: Sequence[str] = (),
    captions: Sequence[str] | None = None,
    sample_rate: float | None = None,
) -> bytes:
    """Arrange items in a grid, row by row.

    Arguments:
        data: Items in the units of the data, (N, *item).
        kind: Kind of the items: "image", "sequence", or "volume", of which the middle slice is shown.
        units: Units of the data.
        columns: Number of columns; about sqrt(N) if None.
        channels: Name of each channel of sequences, or empty.
        captions: Text beside each item, or None.
        sample_rate: Number of values of a sequence per second, or None if it is not known.
    Returns:
        The grid as a PNG file.
    """
    if kind == "sequence":
        rows = units.channels_first(data)
        return lines(rows, columns=columns, channels=channels, captions=captions, sample_rate=sample_rate)
    pixels = to_pixels(data, units)
    if kind == "volume":
        pixels = pixels[:, pixels.shape[1] // 2]
    return png(image_grid(pixels, columns, captions))


def comparison(
    samples: np.ndarray,
    data: np.ndarray,
    *,
    kind: str,
    units: Units,
    columns: Sequence[str] = (),
    sample_rate: float | None = None,
) -> bytes:
    """Draw data beside samples: two pictures of equal ranges, or points, histograms and pairs of columns.

    Arguments:
        samples: Samples in the units of the data, (N, *item).
        data: Items of the data in the same units, (M, *item).
        kind: Kind of the items: "image", "volume", "sequence" or "vector".
        units: Units of both.
        columns: Names of the columns of vectors, or of the channels of sequences; empty if they have no names.
        sample_rate: Number of values of a sequence per second, or None if it is not known.
    Returns:
        The picture as a PNG file.
    """
    if kind == "vector":
        if samples.shape[1] == 2:
            return scatter(samples, data)
        return pairs(named_columns(samples, columns), named_columns(data, columns))
    data, samples = data[: MOST_IN_GRID[kind]], samples[: MOST_IN_GRID[kind]]
    if kind == "image":
        parts = [image_grid(to_pixels(images, units)) for images in (data, samples)]
    elif kind == "volume":
        parts = [slices(to_pixels(volumes, units)) for volumes in (data, samples)]
    else:
        from PIL import Image

        both = [units.channels_first(sequences) for sequences in (data, samples)]
        limits = value_limits(*both)
        plots = [lines(part, channels=columns, sample_rate=sample_rate, limits=limits) for part in both]
        parts = [Image.open(BytesIO(plot)) for plot in plots]
    return png(side_by_side(parts, ("data", "samples")))
