"""Pictures: grids of images, scatter plots of 2-D points, confusion matrices and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdekit.data import Units

CAPTION = 14
"""Height in pixels of the text below an image."""
MOST_CLASSES = 20
"""Largest number of classes in the legend of a scatter plot."""
CELL = 64
"""Size in pixels to which `image_grid` enlarges smaller images, approximately."""


def to_pixels(data: np.ndarray, units: Units) -> np.ndarray:
    """Convert images from the units of the data to pixels.

    Arguments:
        data: Images, (N, *item), in the layout of the units.
        units: Units of the data: `low` is black and `high` is white. If they are None, the smallest number of the
            data is black and the largest is white.
    Returns:
        Pixels, (N, H, W, 1 or 3), uint8. Of two channels the first is used, and of more than three the first three.
    """
    low = float(data.min()) if units.low is None else units.low
    high = float(data.max()) if units.high is None else units.high
    pixels: np.ndarray = np.rint(((data.astype(np.float64) - low) / (high - low or 1.0)).clip(0, 1) * 255).astype(
        np.uint8
    )
    if units.layout == "hw":
        pixels = pixels[..., None]
    elif units.layout == "same":
        pixels = pixels.transpose(0, 2, 3, 1)
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


def scatter(points: np.ndarray, reference: np.ndarray | None = None, classes: Sequence[str] | None = None) -> bytes:
    """Plot 2-D points, over points of the data in grey.

    Arguments:
        points: Samples, (N, 2).
        reference: Points of the data, (M, 2), or None.
        classes: Name of the class of each sample, which determines its colour, or None. The legend shows at most
            20 classes.
    Returns:
        The plot as a PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes: Any = figure.subplots()
    if reference is not None:
        axes.scatter(*reference.T, s=4, c="0.8", linewidths=0, label="data")
    names = ["samples"] * len(points) if classes is None else list(classes)
    for i, name in enumerate(dict.fromkeys(names)):
        shown = points[[other == name for other in names]]
        label = f" {name[:30]}".replace("$", "\\$") if i < MOST_CLASSES else None  # "_..." and "$...$" have a meaning
        axes.scatter(*shown.T, s=6, alpha=0.7, linewidths=0, label=label)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", fontsize="small")
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> bytes:
    """Draw how often each class was predicted for each true class.

    Arguments:
        counts: Numbers of items, (C, C); rows are true classes and columns are predicted classes.
        names: Name of each class.
    Returns:
        The plot as a PNG file. Colours are shares of a row; up to `MOST_CLASSES` classes have names and numbers.
    """
    from matplotlib.figure import Figure

    n, labelled = len(names), len(names) <= MOST_CLASSES
    size = 2.5 + 0.42 * min(n, MOST_CLASSES)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes: Any = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if labelled:
        texts = [name[:12].replace("$", "\\$") for name in names]
        axes.set_xticks(range(n), texts, rotation=45 if max(map(len, texts)) > 3 else 0)
        axes.set_yticks(range(n), texts)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize="small")
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def histograms(values: dict[str, np.ndarray], label: str, title: str = "") -> bytes:
    """Draw histograms of positive numbers with a logarithmic axis, one for each set.

    Arguments:
        values: Numbers of each set by its name, (N,) each.
        label: Text below the axis.
        title: Text above the plot.
    Returns:
        The plot as a PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes: Any = figure.subplots()
    together = np.concatenate(list(values.values())).clip(min=1e-12)
    edges = np.geomspace(together.min() * 0.999, together.max() * 1.001, 41)
    for name, numbers in values.items():
        axes.hist(numbers.clip(min=1e-12), edges, alpha=0.6, weights=np.full(len(numbers), 1 / len(numbers)),
                  label=f" {name[:60]}".replace("$", "\\$"))  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("share of the items")
    axes.set_title(title)
    axes.legend()
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def staircase(
    edges: Sequence[float], values: Sequence[float], errors: Sequence[float], *, x_label: str, y_label: str
) -> bytes:
    """Plot a value for each of several ranges, with error bars.

    Arguments:
        edges: Ends of the ranges in order, one more than values.
        values: Value of each range.
        errors: Standard error of each value; NaN for no bar.
        x_label: Text below the axis.
        y_label: Text beside the axis.
    Returns:
        The plot as a PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes: Any = figure.subplots()
    axes.stairs(values, edges, fill=True, alpha=0.4)
    middles = (np.asarray(edges[1:]) + np.asarray(edges[:-1])) / 2
    axes.errorbar(middles, values, np.nan_to_num(errors), fmt="none", ecolor="black", elinewidth=1)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()


def png(image: Image) -> bytes:
    """Encode a Pillow image as a PNG file.

    Arguments:
        image: The image.
    Returns:
        Content of the file.
    """
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
