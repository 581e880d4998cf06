"""Charts as inline SVG that take their colours and their font from the page, so that they are readable in dark mode."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any

import numpy as np

INK, MUTED, LINE = "#010101", "#020202", "#030303"
"""Colours of text, of axes, and of grid lines. `svg` replaces them by variables of the style sheet."""
DATA, SAMPLES, THIRD, FOURTH = "#040404", "#050505", "#060606", "#070707"
"""Colours of series: the data, the samples, and two more."""
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    DATA: "data",
    SAMPLES: "samples",
    THIRD: "third",
    FOURTH: "fourth",
}
DOTS = {DATA: "#8b95a5", SAMPLES: "#e8743b"}
"""Colours of dots, which are pixels. They are readable on a light and on a dark page."""
WIDTH = 4.7
"""Width of a chart in inches: 338 points, about the width of a phone."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sdekit",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.parse_math": False,
}
NAMESPACE = re.compile(r'\sxmlns(:\w+)?="[^"]*"')
METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*"|(<svg[^>]*?) height="[^"]*"')


class Drawing:
    """Context manager that gives a figure of matplotlib in the style of reports; `svg` converts it at the end.

    Arguments:
        name: Name of the chart, unique on its page.
        height: Height in inches.
        width: Width in inches.
        rows: Number of rows of axes.
        columns: Number of columns of axes.
        options: Further arguments of `Figure.subplots`.
    """

    def __init__(
        self, name: str, height: float, *, width: float = WIDTH, rows: int = 1, columns: int = 1, **options: Any
    ) -> None:
        self.name, self.size, self.cells, self.options = name, (width, height), (rows, columns), options
        self.svg = ""

    def __enter__(self) -> Drawing:
        import matplotlib
        from matplotlib.figure import Figure

        self._style = matplotlib.rc_context(STYLE)
        self._style.__enter__()
        self.figure = Figure(figsize=self.size, layout="constrained")
        self.axes: np.ndarray[Any, Any] = self.figure.subplots(*self.cells, squeeze=False, **self.options)
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            out = StringIO()
            self.figure.savefig(out, format="svg", dpi=160)
            self.svg = themed(out.getvalue(), self.name)
        self._style.__exit__(*error)


def themed(svg: str, name: str) -> str:
    """Convert an SVG file of matplotlib to an `<svg>` element of a page.

    Arguments:
        svg: Contents of the file, drawn with the colours of this module.
        name: Name of the chart, unique on its page, which becomes part of all ids.
    Returns:
        The element. Colours are variables of the style sheet, and no address occurs in it.
    """
    svg = METADATA.sub("", svg[svg.index("<svg") :])
    svg = NAMESPACE.sub("", svg)
    svg = SIZE.sub(r"\1\2", SIZE.sub(r"\1\2", svg, count=1), count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg).replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return re.sub(r"\n\s*", "\n", svg)


def log_scale(axes: Any, *names: str) -> None:
    """Make axes logarithmic, with plain numbers at the ticks.

    Arguments:
        axes: Axes.
        names: "x", "y" or both.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name in names:
        getattr(axes, f"set_{name}scale")("log")
        axis = getattr(axes, f"{name}axis")
        low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
        decades = np.log10(high / low)
        subs = (1.0, 2.0, 5.0) if decades < 1.7 else (1.0, 3.0) if decades < 3 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def dots(axes: Any, points: np.ndarray, colour: str, *, below: bool = False) -> None:
    """Draw points as pixels, because thousands of them would be a large SVG.

    Arguments:
        axes: Axes.
        points: Points (N, 2).
        colour: `DATA` or `SAMPLES`.
        below: Whether the points are drawn below other points.
    """
    alpha = float(np.clip(120 / max(len(points), 1) ** 0.5 / 4, 0.35, 0.9))
    options = {"s": 5, "alpha": alpha, "linewidths": 0, "rasterized": True, "zorder": 1 if below else 2}
    axes.scatter(*points.T, color=DOTS[colour], **options)


def span(*arrays: np.ndarray) -> tuple[float, float]:
    """Return the range of axes that shows almost all numbers of arrays; 0.5 % of the first array may lie outside.

    Arguments:
        arrays: Numbers. The first array determines the range; others extend it by half its width at most.
    Returns:
        Smallest and largest number of the axis.
    """
    first = arrays[0][np.isfinite(arrays[0])]
    low, high = (float(v) for v in np.quantile(first, [0.005, 0.995])) if first.size else (0.0, 1.0)
    width = high - low or abs(high) or 1.0
    for other in (array[np.isfinite(array)] for array in arrays[1:]):
        if other.size:
            low, high = (
                max(low - width / 2, min(low, float(other.min()))),
                min(high + width / 2, max(high, float(other.max()))),
            )
    margin = 0.04 * (high - low or 1.0)
    return low - margin, high + margin


def histogram(axes: Any, data: np.ndarray, samples: np.ndarray | None, limits: tuple[float, float]) -> None:
    """Draw the histogram of data, and over it that of samples as a line; both have the area 1.

    Arguments:
        axes: Axes.
        data: Numbers of the data (N,).
        samples: Numbers of the samples (M,), or None.
        limits: Range of the axis.
    """
    least = len(data) if samples is None else min(len(data), len(samples))
    edges = np.linspace(*limits, int(np.clip(2 * least ** (1 / 3), 8, 40)) + 1)
    for numbers, colour, options in (
        (data, DATA, {"histtype": "stepfilled", "alpha": 0.45}),
        (samples, SAMPLES, {"histtype": "step", "linewidth": 1.6}),
    ):
        if numbers is not None and (inside := numbers[(numbers >= edges[0]) & (numbers <= edges[-1])]).size:
            axes.hist(inside, edges, density=True, color=colour, **options)
    axes.set(xlim=limits, yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(False)


def short(name: str, most: int = 18) -> str:
    """Return a name that fits beside an axis.

    Arguments:
        name: Name, such as that of a column.
        most: Largest number of characters.
    Returns:
        The name, or its start and an ellipsis.
    """
    return name if len(name) <= most else name[: most - 1] + "…"


def pair_plot(name: str, columns: Sequence[str], data: np.ndarray, samples: np.ndarray | None) -> str:
    """Draw histograms of columns on the diagonal, and points of each pair of columns below it.

    Arguments:
        name: Name of the chart, unique on its page.
        columns: Names of the d columns.
        data: Rows of the data (N, d).
        samples: Samples (M, d), or None.
    Returns:
        The `<svg>` element.
    """
    d = len(columns)
    limits = [span(data[:, i], *([] if samples is None else [samples[:, i]])) for i in range(d)]
    size = max(WIDTH, 1.75 * d)
    with Drawing(name, size, width=size, rows=d, columns=d, sharex="col") as drawing:
        for i in range(d):
            for j in range(d):
                axes = drawing.axes[i, j]
                if j > i:
                    axes.set_visible(False)
                elif i == j:
                    histogram(axes, data[:, i], None if samples is None else samples[:, i], limits[i])
                else:
                    dots(axes, data[:, [j, i]], DATA)
                    if samples is not None:  # as many, and half of them below the data, so that neither hides the other
                        shown = samples[: len(data), [j, i]]
                        dots(axes, shown[::2], SAMPLES, below=True)
                        dots(axes, shown[1::2], SAMPLES)
                    axes.set(xlim=limits[j], ylim=limits[i])
                axes.locator_params(nbins=4)
                if i == d - 1:
                    axes.set_xlabel(short(columns[j]))
                if j == 0 and i:
                    axes.set_ylabel(short(columns[i]))
                axes.label_outer()
    return drawing.svg
