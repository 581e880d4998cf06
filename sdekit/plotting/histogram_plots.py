"""Histograms, and values for each of several ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .png_encoding import figure_png


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
    return figure_png(figure)


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
    return figure_png(figure)
