"""Confusion matrices of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .png_encoding import figure_png

MOST_CLASSES = 20
"""Largest number of classes with names and numbers in the plot."""


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
    return figure_png(figure)
