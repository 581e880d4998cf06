"""Pictures of an evaluation: real data beside samples, and samples beside their nearest training items."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sdekit.plotting import image_grid, png, scatter, to_pixels

from .evaluation_result import Memorization
from .real_data import RealData

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdekit.models import OpenedModel

MOST_IMAGES = 64
"""Largest number of images on each side."""
MOST_POINTS = 2000
"""Largest number of points of each kind in a plot."""
MOST_COLUMNS = 5
"""Largest number of columns of a table in a plot of pairs."""
HEADER, GAP = 24, 12
"""Height in pixels of the titles, and width of the gap between two grids."""


def comparison_picture(opened: OpenedModel, samples: Tensor, real: RealData, *, seed: int = 0) -> bytes:
    """Draw real data beside samples: two grids of images, or points, histograms and pairs of columns.

    Arguments:
        opened: The model.
        samples: Samples (n, *data_shape) in the model's units.
        real: Real items.
        seed: Seed of the choice of real items.
    Returns:
        Contents of a PNG file.
    """
    most = MOST_IMAGES if opened.kind == "image" else MOST_POINTS
    reference = real.read(opened, real.choose(min(most, len(samples)), seed)[0])
    units = replace(opened.units, layout="same")
    data, drawn = units.to_data(reference), units.to_data(samples[:most])
    if opened.kind == "image":
        grids = [image_grid(to_pixels(images, units)) for images in (data, drawn)]
        return png(_side_by_side(grids, ("data", "samples")))
    if drawn.shape[1] == 2:
        return scatter(drawn, data)
    return _pairs(drawn, data, real.columns)


def nearest_picture(opened: OpenedModel, samples: Tensor, real: RealData, found: Memorization | None) -> bytes | None:
    """Draw the samples that are most similar to a training item, in the first row, above these items.

    Arguments:
        opened: The model.
        samples: Samples (n, *data_shape) in the model's units.
        real: Real items, with the training items.
        found: Result of the check for memorization.
    Returns:
        Contents of a PNG file, or None for data other than images, or without training items.
    """
    if found is None or not found.pairs or opened.kind != "image" or real.training_data is None:
        return None
    items = np.array([pair.item for pair in found.pairs])
    training = real.read(opened, items, training=True)
    units = replace(opened.units, layout="same")
    chosen = samples[[pair.sample for pair in found.pairs]]
    images = np.concatenate([units.to_data(chosen), units.to_data(training)])
    captions = ["sample"] * len(items) + ["training"] * len(items)
    return png(image_grid(to_pixels(images, units), columns=len(items), captions=captions))


def _side_by_side(grids: list[Image], titles: tuple[str, ...]) -> Image:
    """Arrange pictures from left to right, with a title above each."""
    from PIL import Image, ImageDraw, ImageFont

    width = sum(grid.width for grid in grids) + GAP * (len(grids) - 1)
    canvas = Image.new("RGB", (width, HEADER + max(grid.height for grid in grids)), "white")
    draw, font, left = ImageDraw.Draw(canvas), ImageFont.load_default(), 0
    for grid, title in zip(grids, titles, strict=True):
        draw.text((left + 4, 6), title, fill="black", font=font)
        canvas.paste(grid.convert("RGB"), (left, HEADER))
        left += grid.width + GAP
    return canvas


def _pairs(samples: np.ndarray, data: np.ndarray, names: tuple[str, ...]) -> bytes:
    """Plot the first columns: histograms on the diagonal, and points of each pair of columns below it."""
    from matplotlib.figure import Figure

    d = min(data.shape[1], MOST_COLUMNS)
    labels = [name[:20].replace("$", "\\$") for name in names] or [f"column {i}" for i in range(d)]
    figure = Figure(figsize=(2.2 * d + 1, 2.2 * d), layout="constrained")
    grid: Any = figure.subplots(d, d, squeeze=False)
    for i in range(d):
        for j in range(d):
            axes = grid[i][j]
            if j > i:
                axes.axis("off")
            elif i == j:
                bins = np.histogram_bin_edges(data[:, i], 30)
                axes.hist(data[:, i], bins, density=True, color="0.8", label="data")
                axes.hist(samples[:, i], bins, density=True, histtype="step", color="C0", label="samples")
            else:
                axes.scatter(data[:, j], data[:, i], s=4, c="0.8", linewidths=0)
                axes.scatter(samples[:, j], samples[:, i], s=4, alpha=0.5, c="C0", linewidths=0)
            if i == d - 1:
                axes.set_xlabel(labels[j])
            if j == 0 and i:
                axes.set_ylabel(labels[i])
    grid[0][0].legend(fontsize="x-small")
    out = BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()
