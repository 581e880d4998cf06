"""Line plots of sequences: a grid of small panels with one range of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .png_encoding import figure_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CHANNELS = 10
"""Largest number of channels of a panel: the number of colours of matplotlib."""
MOST_POINTS = 2000
"""Largest number of points of a line. Of a longer sequence the smallest and the largest value of each part is drawn."""


def lines(
    sequences: np.ndarray,
    *,
    columns: int | None = None,
    channels: Sequence[str] = (),
    captions: Sequence[str] | None = None,
    sample_rate: float | None = None,
    limits: tuple[float, float] | None = None,
) -> bytes:
    """Plot sequences in a grid of panels that share both axes, with one colour for each channel.

    Arguments:
        sequences: Sequences (N, C, L), of which the first 10 channels are drawn.
        columns: Number of columns of the grid; about sqrt(N) if None.
        channels: Name of each channel for the legend, or empty.
        captions: Text above each panel, such as the name of a class, or None.
        sample_rate: Number of values per second, so that the horizontal axis is in seconds, or None for an axis of
            indices.
        limits: Range of the vertical axis, or None for the range of the sequences.
    Returns:
        The plot as a PNG file.
    """
    chosen: dict[str, Any] = dict(channels=channels, captions=captions, sample_rate=sample_rate, limits=limits)
    return figure_png(lines_figure(sequences, columns=columns, **chosen), dpi=100)


def lines_figure(
    sequences: np.ndarray,
    *,
    columns: int | None = None,
    channels: Sequence[str] = (),
    captions: Sequence[str] | None = None,
    sample_rate: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of `lines`, which has the same arguments."""
    from .notebook_figure import NotebookFigure

    shown = sequences[:, :MOST_CHANNELS]
    n, n_channels, length = shown.shape
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    rows = math.ceil(n / columns)
    width = 2.2 if columns <= 4 else 1.5
    figure = NotebookFigure(figsize=(width * columns + 0.8, 1.4 * rows + 0.7), layout="constrained")
    panels: Any = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for i, panel in enumerate(panels.flat):
        if i >= n:
            panel.axis("off")
            continue
        for channel in range(n_channels):
            places, values = _outline(shown[i, channel])
            panel.plot(places / (sample_rate or 1), values, linewidth=0.8, color=f"C{channel}")
        if captions:
            panel.set_title(captions[i][:24].replace("$", "\\$"), fontsize="small")
        panel.tick_params(labelsize="x-small")
    low, high = value_limits(shown) if limits is None else limits
    panels[0, 0].set(xlim=(0, max(length - 1, 1) / (sample_rate or 1)), ylim=(low, high))
    figure.supxlabel("seconds" if sample_rate else "index", fontsize="small")
    if n_channels > 1:
        names = [f" {name[:24]}".replace("$", "\\$") for name in channels] or [
            f"channel {i}" for i in range(n_channels)
        ]
        figure.legend(panels[0, 0].lines, names[:n_channels], loc="outside upper center", ncols=5, fontsize="x-small")
    return figure


def value_limits(*arrays: np.ndarray) -> tuple[float, float]:
    """Return a range for an axis that contains the numbers of all arrays, with a margin.

    Arguments:
        arrays: Arrays of any shape with at least one number in all.
    Returns:
        Smallest and largest value of the axis. Numbers that are not finite are ignored.
    """
    numbers = np.concatenate([array.ravel() for array in arrays])
    numbers = numbers[np.isfinite(numbers)]
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 0.0)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _outline(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return places and values of a line. A long one is replaced by the extremes of each of many equal parts."""
    length = len(values)
    if length <= MOST_POINTS:
        return np.arange(length), values
    starts = np.linspace(0, length, MOST_POINTS // 2, endpoint=False).astype(int)
    extremes = np.stack([np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)], axis=1)
    return starts.repeat(2), extremes.ravel()
