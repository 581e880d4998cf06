"""One figure of samples of any kind, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from .image_grids import image_grid, to_pixels
from .line_plots import lines_figure
from .pair_plots import named_columns, pairs
from .scatter_plot import scatter_figure
from .volume_slices import slices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sdekit.data import Units


def sample_figure(
    data: np.ndarray,
    *,
    kind: str,
    units: Units,
    channels: Sequence[str] = (),
    table: Mapping[str, np.ndarray] | None = None,
    captions: Sequence[str] | None = None,
    sample_rate: float | None = None,
) -> Figure:
    """Plot samples as a figure of matplotlib, which a notebook shows.

    Arguments:
        data: Samples in the units of the data, (N, *item).
        kind: Kind of the items: "image", "volume", "sequence" or "vector".
        units: Units of the data.
        channels: Names of the channels of sequences, or empty.
        table: Columns of a table by name, (N,) each, or None; see `sdekit.data.tables.columns_of`.
        captions: Name of the class of each sample, or None.
        sample_rate: Number of values of a sequence per second, or None if it is not known.
    Returns:
        Images in a grid, slices of volumes, lines of sequences, points in the plane, or pairs of columns.
    """
    if kind == "sequence":
        sequences = units.channels_first(data)
        return lines_figure(sequences, channels=channels, captions=captions, sample_rate=sample_rate)
    if kind == "vector" and data.shape[1] == 2 and (table is None or len(table) == 2):
        figure = scatter_figure(data, classes=captions)
        names = [name[:40].replace("$", "\\$") for name in table or ("", "")]
        figure.axes[0].set(xlabel=names[0], ylabel=names[1])
        return figure
    from PIL import Image

    from .notebook_figure import figure_of_picture

    if kind == "vector":
        return figure_of_picture(Image.open(BytesIO(pairs(named_columns(data) if table is None else table))))
    pixels = to_pixels(data, units)
    return figure_of_picture(image_grid(pixels, captions=captions) if kind == "image" else slices(pixels, captions))
