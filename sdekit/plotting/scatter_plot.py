"""Scatter plots of 2-D points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .png_encoding import figure_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 20
"""Largest number of classes in the legend of a scatter plot."""


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
    return figure_png(scatter_figure(points, reference, classes))


def scatter_figure(
    points: np.ndarray, reference: np.ndarray | None = None, classes: Sequence[str] | None = None
) -> Figure:
    """Return the figure of `scatter`, which has the same arguments."""
    from .notebook_figure import NotebookFigure

    figure = NotebookFigure(figsize=(6, 6), layout="constrained")
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
    return figure
