"""Pair plots of tables: histograms of columns, and scatter plots of pairs of columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .png_encoding import figure_png

MOST_COLUMNS = 8
"""Largest number of columns of a table in a plot of pairs."""
MOST_ROWS = 2000
"""Largest number of rows that are drawn of the data and of the samples."""
MOST_CATEGORIES = 8
"""Largest number of categories of a column that have their own bar; the others share one."""
BINS = 30
OTHERS = "others"
GREY, COLOUR = "0.72", "C0"


def named_columns(array: np.ndarray, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Return the columns of vectors by name.

    Arguments:
        array: Vectors, (N, d).
        names: Name of each column; if empty, the names are "column 0", "column 1", ...
    Returns:
        Numbers (N,) of each column.
    """
    return dict(zip(names or [f"column {i}" for i in range(array.shape[1])], array.T, strict=True))


def pairs(
    samples: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray] | None = None, *, name: str = "samples"
) -> bytes:
    """Plot samples of a table over its data in grey: columns on the diagonal, and pairs of columns below it.

    A column of numbers is a histogram, and a column of categories is a bar for the share of each category. A pair of
    columns of categories is a disk for each pair of categories, whose area is their share. Rows with a missing value
    are left out of the plots of its column. The limits are the range of the central 99.6% of the data, enlarged by a
    tenth on both sides. Of a table with more than 8 columns the first 8 are drawn, which the title states.

    Arguments:
        samples: Samples of each column by name, (N,) each: numbers with NaN for missing values, or an array of objects
            with texts for categories and None for missing values.
        data: Rows of the data in the same form, (M,) each, or None.
        name: Name of the samples in the title.
    Returns:
        The plot as a PNG file.
    """
    from matplotlib.figure import Figure

    names = list(samples)[:MOST_COLUMNS]
    columns = [_Column(samples[column], None if data is None else data[column], column) for column in names]
    d = len(columns)
    width, height = 1.7 * d + 0.9, 1.7 * d + 1.2  # fixed margins, because a computed layout takes as long as the plots
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(0.8 / width, 0.8 / height, 1 - 0.1 / width, 1 - 0.4 / height, 0.1, 0.1)
    for i, row in enumerate(columns):
        for j, column in enumerate(columns[: i + 1]):
            axes: Any = figure.add_subplot(d, d, i * d + j + 1)
            if i == j:
                _draw_column(axes, column)
            elif row.categories and column.categories:
                _draw_disks(axes, column, row)
            else:
                _draw_points(axes, column, row)
            axes.tick_params(labelsize=6)
            column.set_ticks(axes.xaxis, axes.set_xlim, shown=i == d - 1)
            if i != j:
                row.set_ticks(axes.yaxis, axes.set_ylim, shown=j == 0)
    first = f"first {d} of {len(samples)} columns; " if len(samples) > d else ""
    title = first + (name if data is None else f"data in grey, {name} in colour")
    figure.text(0.8 / width, 1 - 0.1 / height, title, fontsize=9, va="top")
    return figure_png(figure, dpi=100)


class _Column:
    """Values of a column as positions on an axis: numbers, or the positions of categories.

    Arguments:
        samples: Samples, (N,).
        data: Data, (M,), or None.
        name: Name of the column.
    """

    def __init__(self, samples: np.ndarray, data: np.ndarray | None, name: str) -> None:
        self.name = _label(name, 24)
        reference = samples if data is None else data
        self.categories: list[str] = []
        if reference.dtype == object:
            counts = Counter(str(value) for value in reference if value is not None)
            frequent = sorted(name for name, _ in counts.most_common(MOST_CATEGORIES))
            known = set(counts) | {str(value) for value in samples if value is not None}
            self.categories = frequent + ([OTHERS] if len(known) > len(frequent) else [])
        self.samples = self._positions(samples[:MOST_ROWS])
        self.data = None if data is None else self._positions(data[_spread(len(data))])
        if self.categories:
            self.limits = -0.6, len(self.categories) - 0.4
            return
        finite = self.samples if self.data is None else self.data
        finite = finite[np.isfinite(finite)]
        low, high = np.quantile(finite, [0.002, 0.998]) if finite.size else (0.0, 0.0)
        margin = 0.1 * (high - low) or 0.5
        self.limits = float(low - margin), float(high + margin)

    def _positions(self, values: np.ndarray) -> np.ndarray:
        """Return numbers, (N,) float64, with NaN for missing values."""
        if not self.categories:
            return values.astype(np.float64)
        place = {name: float(i) for i, name in enumerate(self.categories)}
        last = len(self.categories) - 1.0
        return np.array([np.nan if value is None else place.get(str(value), last) for value in values])

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins of a histogram. The bins of a few whole numbers have a width of 1."""
        low, high = self.limits
        reference = self.samples if self.data is None else self.data
        whole = reference[np.isfinite(reference)]
        if high - low <= BINS and whole.size and not (whole % 1).any():
            return np.arange(np.floor(low), np.ceil(high) + 1) + 0.5
        return np.linspace(low, high, BINS + 1)

    def set_ticks(self, axis: Any, set_limits: Any, *, shown: bool) -> None:
        """Set limits and ticks of an axis of a plot, and its name if `shown`."""
        from matplotlib.ticker import MaxNLocator

        set_limits(*self.limits)
        if self.categories:
            axis.set_ticks(range(len(self.categories)), [_label(name, 10) for name in self.categories])
            if axis.axis_name == "x" and max(map(len, self.categories)) > 3:
                axis.set_tick_params(rotation=90)
        else:
            axis.set_major_locator(MaxNLocator(4))
        if shown:
            axis.set_label_text(self.name, fontsize=7)
        else:
            axis.set_tick_params(labelbottom=False, labelleft=False)


def _draw_column(axes: Any, column: _Column) -> None:
    """Draw the histogram of a column of numbers, or the shares of categories."""
    axes.set_yticks([])
    if not column.categories:
        edges = column.edges
        if column.data is not None:
            axes.hist(column.data, edges, density=True, color=GREY)
        inside = column.samples[(column.samples >= edges[0]) & (column.samples <= edges[-1])]
        if inside.size:  # a known value may be outside of the data
            axes.hist(inside, edges, density=True, histtype="step", color=COLOUR, linewidth=1)
        return
    places = np.arange(len(column.categories))
    for values, style in ((column.data, {"color": GREY}), (column.samples, {"fill": False, "edgecolor": COLOUR})):
        if values is not None:
            axes.bar(places, [np.mean(values[np.isfinite(values)] == place) for place in places], 0.8, **style)


def _draw_points(axes: Any, column: _Column, row: _Column) -> None:
    """Draw a point for each row of the table. Positions on an axis of categories are spread."""
    generator = np.random.default_rng(0)
    for kind, colour, alpha in (("data", GREY, 1.0), ("samples", COLOUR, 0.5)):
        values = [getattr(column, kind), getattr(row, kind)]
        if values[0] is None:
            continue
        shift = 0.0 if column.data is None else -0.2 if kind == "data" else 0.2
        for i, axis in enumerate((column, row)):
            if axis.categories:
                values[i] = values[i] + shift + generator.uniform(-0.15, 0.15, len(values[i]))
        axes.scatter(*values, s=3, c=colour, alpha=alpha, linewidths=0)


def _draw_disks(axes: Any, column: _Column, row: _Column) -> None:
    """Draw a disk for each pair of categories of the data, and a ring for the samples, with areas of their shares."""
    places = [(i, j) for i in range(len(column.categories)) for j in range(len(row.categories))]
    largest = (75 / max(len(column.categories), len(row.categories))) ** 2  # area in square points
    scale = None
    for kind, style in (("data", {"c": GREY}), ("samples", {"facecolors": "none", "edgecolors": COLOUR})):
        x, y = getattr(column, kind), getattr(row, kind)
        if x is not None:
            shares = np.array([np.mean((x == i) & (y == j)) for i, j in places])
            scale = largest / max(shares.max(), 1e-12) if scale is None else scale
            axes.scatter(*np.transpose(places), s=scale * shares, **style)


def _spread(n: int) -> np.ndarray:
    """Return at most `MOST_ROWS` indices of n rows, at equal distances, because tables may be sorted."""
    return np.linspace(0, n - 1, min(n, MOST_ROWS)).round().astype(np.int64)


def _label(text: str, length: int) -> str:
    """Return a text that matplotlib prints as it is, cut to a length."""
    return (text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}").replace("$", "\\$")
