"""Pictures of items of every kind: of the data alone, or of samples beside the data."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np

from sdekit.data import Column, Units
from sdekit.data.tables import columns_of
from sdekit.models import OpenedModel
from sdekit.plotting import figure_png, item_grid, pairs, png, sample_pictures

from .blocks import Block, Chart, Figures, Image, Table
from .charts import DATA, DOTS, SAMPLES, Drawing, dots, histogram, pair_plot, short, span

MOST_COLUMNS, MOST_PAIRS, MOST_HISTOGRAMS = 40, 4, 12
"""Largest number of columns in a table of moments, in a plot of pairs, and in a figure of histograms."""
WIDEST_PAIRS = 760
"""Largest width in pixels of the pairs of a table."""
LARGEST = 560
"""Largest width in pixels of a picture that is embedded in the page."""


def items_block(
    items: np.ndarray,
    opened: OpenedModel,
    units: Units,
    alt: str,
    caption: str,
    labels: Sequence[str] | None = None,
    columns: int | None = None,
) -> Image:
    """Draw items other than vectors: a grid of images or of lines, or slices of volumes.

    Arguments:
        items: Items in the units of the data, (N, *item).
        opened: Model of such items.
        units: Units of the data.
        alt: Description for people who do not see the picture.
        caption: Text below the picture.
        labels: Name of the class of each item, or None.
        columns: Number of columns; about sqrt(N) if None.
    Returns:
        The picture.
    """
    names, rate = opened.channel_names, opened.sample_rate
    if columns is None:
        pictures = sample_pictures(
            items, kind=opened.kind, units=units, columns=names, captions=labels, sample_rate=rate
        )
        content = next(iter(pictures.values()))
    else:
        content = item_grid(
            items, kind=opened.kind, units=units, columns=columns, channels=names, captions=labels, sample_rate=rate
        )
    content, width = shrunk(content, LARGEST, factor=2 if opened.kind == "sequence" else 1)
    return Image(png=content, alt=alt, caption=caption, width=width)


def shrunk(content: bytes, widest: int, factor: int = 1) -> tuple[bytes, int]:
    """Reduce a picture that is too wide.

    Arguments:
        content: Contents of a PNG file.
        widest: Largest width on the page.
        factor: Pixels of the picture for each pixel of the page, so that text remains sharp on fine screens.
    Returns:
        The picture, and its width on the page.
    """
    from PIL import Image as Pillow

    picture = Pillow.open(BytesIO(content))
    if picture.width <= factor * widest:
        return content, min(picture.width, widest)
    height = max(1, round(picture.height * factor * widest / picture.width))
    return png(picture.resize((factor * widest, height))), widest


def vector_blocks(
    name: str,
    columns: Sequence[str],
    data: np.ndarray,
    samples: np.ndarray | None = None,
    table: Sequence[Column] = (),
) -> tuple[Block, ...]:
    """Draw vectors: histograms, points of pairs of columns, and a table of the moments of each column.

    Arguments:
        name: Start of the names of the charts, unique on the page.
        columns: Names of the d columns.
        data: Rows of the data (N, d); N is 0 without data.
        samples: Samples (M, d), or None.
        table: Columns of a table, whose pairs are drawn with their categories, or empty.
    Returns:
        Charts and a table.
    """
    d, first, other = len(columns), data, samples
    if not len(data):
        if samples is None:
            return ()
        first, other = samples, None
    what = "the data" if samples is None else "the data and the samples" if other is not None else "the samples"
    blocks: list[Block] = []
    has_categories = len(table) > 1 and any(column.type == "category" for column in table)
    if has_categories:
        blocks.append(_table_pairs(table, first, other, what))
    elif d == 2:
        blocks.append(_plane(name, columns, first, other, what))
    elif d > 1:
        shown = columns[:MOST_PAIRS]
        part = None if other is None else other[:, : len(shown)]
        rest = f" The first {len(shown)} of {d} columns." if d > len(shown) else ""
        blocks.append(
            Chart(
                svg=pair_plot(f"{name}-pairs", shown, first[:, : len(shown)], part),
                alt=f"Histograms and pairs of the columns {', '.join(shown)} of {what}",
                caption=f"Histograms on the diagonal, pairs of columns below it.{_legend(other)}{rest}",
                wide=True,
            )
        )
    if not has_categories and (d == 1 or d > MOST_PAIRS):
        blocks.append(_histograms(name, columns, first, other, what))
    blocks.append(_moments(columns, data, samples))
    return tuple(blocks)


def _table_pairs(table: Sequence[Column], data: np.ndarray, samples: np.ndarray | None, what: str) -> Image:
    """Draw pairs of the columns of a table with categories: the data in grey and the samples in colour."""
    if samples is None:
        picture = pairs(columns_of(data, table), name=what.removeprefix("the "))
    else:
        picture = pairs(columns_of(samples, table), columns_of(data, table))
    content, width = shrunk(picture, WIDEST_PAIRS, factor=2)
    names = ", ".join(column.name for column in table)
    legend = "" if samples is None else " Grey: data. Blue: samples."
    caption = f"Columns on the diagonal, pairs of columns below it.{legend}"
    return Image(png=content, alt=f"Columns and pairs of the columns {names} of {what}", caption=caption, width=width)


def _legend(samples: np.ndarray | None) -> str:
    """Return the sentence that explains the colours."""
    return "" if samples is None else " Grey: data. Orange: samples."


def _plane(name: str, columns: Sequence[str], data: np.ndarray, samples: np.ndarray | None, what: str) -> Block:
    """Draw points in the plane: the data alone, or the data, the samples, and both of them."""
    x, y = (span(data[:, i], *([] if samples is None else [samples[:, i]])) for i in (0, 1))
    parts: list[tuple[str, list[tuple[np.ndarray, str]]]] = [("data", [(data, DATA)])]
    if samples is not None:
        parts += [("samples", [(samples, SAMPLES)])]
    ratio, charts = (y[1] - y[0]) / (x[1] - x[0]), []
    equal = 0.4 < ratio < 2.5
    height = 3.3 * min(ratio, 1.2) + 0.6 if equal else 3.6
    for title, series in parts:
        with Drawing(f"{name}-{title}", height, width=3.9) as drawing:
            axes = drawing.axes[0, 0]
            for points, colour in series:
                dots(axes, points, colour)
            axes.set(xlim=x, ylim=y, xlabel=short(columns[0], 40), ylabel=short(columns[1], 40))
            if equal:
                axes.set_aspect("equal")
        label = what if samples is None else f"the {title}"
        charts.append(
            Chart(
                svg=drawing.svg,
                alt=f"Points of {label}: {columns[0]} and {columns[1]}",
                caption=f"{label[0].upper()}{label[1:]}: {len(series[0][0]):,} points.",
            )
        )
    return Figures(items=tuple(charts))


def _histograms(name: str, columns: Sequence[str], data: np.ndarray, samples: np.ndarray | None, what: str) -> Block:
    """Draw a histogram of each column."""
    shown = columns[:MOST_HISTOGRAMS]
    across = min(3, len(shown))
    rows = -(-len(shown) // across)
    with Drawing(f"{name}-histograms", 1.5 * rows + 0.3, width=2.2 * max(across, 2), rows=rows, columns=across) as d:
        for i, axes in enumerate(d.axes.flat):
            if i >= len(shown):
                axes.set_visible(False)
                continue
            part = None if samples is None else samples[:, i]
            histogram(axes, data[:, i], part, span(data[:, i], *([] if part is None else [part])))
            axes.locator_params(nbins=4)
            axes.set_xlabel(short(shown[i], 24))
    rest = f" The first {len(shown)} of {len(columns)} columns." if len(columns) > len(shown) else ""
    return Chart(
        svg=d.svg,
        alt=f"Histograms of the columns {', '.join(shown)} of {what}",
        caption=f"Histogram of each column.{_legend(samples)}{rest}",
        wide=True,
    )


def _moments(columns: Sequence[str], data: np.ndarray, samples: np.ndarray | None) -> Table:
    """Return the mean, the standard deviation and the range of each column."""
    header = ["column"]
    groups = [(name, rows) for name, rows in (("data", data), ("samples", samples)) if rows is not None and len(rows)]
    for name, _ in groups:
        header += [f"{name}: mean", "std", "smallest", "largest"]
    rows = []
    for i, column in enumerate(columns[:MOST_COLUMNS]):
        cells = [column]
        for _, numbers in groups:
            values = numbers[:, i].astype(np.float64)
            cells += [f"{v:.4g}" for v in (values.mean(), values.std(), values.min(), values.max())]
        rows.append(tuple(cells))
    rest = f", the first {MOST_COLUMNS} of {len(columns)}" if len(columns) > MOST_COLUMNS else ""
    return Table(header=tuple(header), rows=tuple(rows), caption=f"Columns{rest}")


def thumbnail(items: np.ndarray, units: Units, kind: str, limits: Sequence[tuple[float, float]]) -> bytes:
    """Draw a few samples as a small picture: a grid of images or slices, lines, or points in the plane.

    Arguments:
        items: Items in the units of the data, (N, *item).
        units: Units of the data.
        kind: Kind of the items.
        limits: Ranges of the two axes, for points.
    Returns:
        A PNG file.
    """
    if kind in ("image", "volume"):
        return shrunk(item_grid(items, kind=kind, units=units, columns=2), 200)[0]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3, 1.3), facecolor="none")
    axes: Any = figure.add_axes((0, 0, 1, 1))
    if kind == "sequence":
        rows = units.channels_first(items)[:, 0]
        low, high = (float(limits[0][0]), float(limits[0][1])) if limits else (float(rows.min()), float(rows.max()))
        for i, row in enumerate(rows):  # one below the other
            axes.plot(row - i * (high - low), linewidth=0.7, color=DOTS[SAMPLES])
        axes.axis("off")
        return figure_png(figure, dpi=100)
    axes.scatter(items[:, 0], items[:, 1], s=3, linewidths=0, alpha=0.8, color=DOTS[SAMPLES])
    axes.set(xlim=limits[0], ylim=limits[1])
    axes.axis("off")
    return figure_png(figure, dpi=100)
