"""Pair plots of tables: histograms of columns and scatter plots of pairs of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .png_encoding import figure_png

MOST_COLUMNS = 5
"""Largest number of columns of a table in a plot of pairs."""


def pairs(samples: np.ndarray, data: np.ndarray, names: Sequence[str] = ()) -> bytes:
    """Plot the first columns: histograms on the diagonal, and points of each pair of columns below it.

    Arguments:
        samples: Samples, (N, d).
        data: Rows of the data, (M, d), in grey.
        names: Name of each column, or empty.
    Returns:
        The plot as a PNG file.
    """
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
    return figure_png(figure, dpi=100)
