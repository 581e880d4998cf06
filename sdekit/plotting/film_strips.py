"""Film strips and animations of the states x_t of a sampling run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from .image_grids import image_grid, side_by_side
from .line_plots import MOST_CHANNELS, value_limits

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

MOST_POINTS = 2000
"""Largest number of points in one panel."""
STRIP_ROWS = 4
"""Number of samples in a film strip, and of sequences in an animation."""
ANIMATED_IMAGES = 16
"""Largest number of images in an animation."""


def film_strip(
    states: np.ndarray, titles: Sequence[str], *, kind: str, limits: tuple[float, float] | None = None
) -> Figure:
    """Plot the states of a few samples: one column for each time, and one row for each sample.

    A state with a larger standard deviation than the last state is scaled to that of the last state, so that noise of
    every level remains visible. All vectors share one row.

    Arguments:
        states: States in the model's units, (F, n, *shape), at F times; the last one is x_0.
        titles: Text above each column, such as "t = 0.5".
        kind: Kind of the samples: "image", "volume", "sequence" or "vector".
        limits: Values of black and white, or None for the range of x_0.
    Returns:
        The figure. Images have the first three channels as colours, volumes are shown by their middle slice, and
        vectors by their first two coordinates.
    """
    from .notebook_figure import NotebookFigure, figure_of_picture

    shown = _on_one_scale(states)[:, : MOST_POINTS if kind == "vector" else STRIP_ROWS]
    if kind in ("image", "volume"):
        columns = [image_grid(state, columns=1) for state in _pixels(shown, kind, limits)]
        return figure_of_picture(side_by_side(columns, titles))
    rows = 1 if kind == "vector" else shown.shape[1]
    height = 1.6 * rows + 0.25
    figure = NotebookFigure(figsize=(1.6 * len(shown), height), dpi=100)
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.25 / height, 0.05, 0.05)  # a computed layout is slow
    panels: Any = figure.subplots(rows, len(shown), squeeze=False)
    bounds = _bounds(shown, kind)
    for column, (state, title) in enumerate(zip(shown, titles, strict=True)):
        panels[0, column].set_title(title, fontsize="small")
        for row in range(rows):
            _draw(panels[row, column], state if kind == "vector" else state[row], kind, bounds)
    return figure


def animation(
    states: np.ndarray,
    titles: Sequence[str],
    *,
    kind: str,
    limits: tuple[float, float] | None = None,
    milliseconds: int = 120,
) -> bytes:
    """Draw an animated picture with one frame for each time, and a longer last frame.

    Arguments:
        states: States in the model's units, (F, n, *shape), see `film_strip`; at most 16 images or 4 sequences are
            shown.
        titles: Text above each frame.
        kind: Kind of the samples.
        limits: Values of black and white, or None for the range of x_0.
        milliseconds: Duration of a frame.
    Returns:
        Content of a GIF file.
    """
    most = {"vector": MOST_POINTS, "sequence": STRIP_ROWS}.get(kind, ANIMATED_IMAGES)
    shown = _on_one_scale(states)[:, :most]
    if kind in ("image", "volume"):
        grids = [image_grid(state) for state in _pixels(shown, kind, limits)]
    else:
        bounds = _bounds(shown, kind)
        grids = [_panels(state, kind, bounds) for state in shown]
    frames = [side_by_side([grid], [title]) for grid, title in zip(grids, titles, strict=True)]
    durations = [milliseconds] * (len(frames) - 1) + [1500]
    out = BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return out.getvalue()


def _on_one_scale(states: np.ndarray) -> np.ndarray:
    """Divide each state by its standard deviation over that of the last state, if the ratio is above 1."""
    deviations = states.reshape(len(states), -1).astype(np.float64).std(axis=1)
    ratios = np.maximum(1.0, deviations / (deviations[-1] or 1.0))
    scaled: np.ndarray = states / ratios.reshape(-1, *[1] * (states.ndim - 1))
    return scaled


def _pixels(states: np.ndarray, kind: str, limits: tuple[float, float] | None) -> np.ndarray:
    """Return images, or the middle slices of volumes, (F, n, C, ...) as pixels (F, n, H, W, 1 or 3), uint8."""
    images = states[:, :, :, states.shape[3] // 2] if kind == "volume" else states
    images = np.moveaxis(images[:, :, :3] if images.shape[2] >= 3 else images[:, :, :1], 2, -1)
    low, high = limits or (float(images[-1].min()), float(images[-1].max()))
    pixels: np.ndarray = np.rint(((images - low) / (high - low or 1.0)).clip(0, 1) * 255).astype(np.uint8)
    return pixels


def _bounds(states: np.ndarray, kind: str) -> tuple[float, float]:
    """Return the range of the axes of all panels."""
    return value_limits(states[..., :2] if kind == "vector" else states)


def _panels(state: np.ndarray, kind: str, bounds: tuple[float, float]) -> Image:
    """Draw the sequences (n, C, L), or all vectors (n, d), of one time."""
    from PIL import Image

    from .notebook_figure import NotebookFigure
    from .png_encoding import figure_png

    n = 1 if kind == "vector" else len(state)
    side = math.ceil(math.sqrt(n))
    figure = NotebookFigure(figsize=(4, 4))
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99, 0.05, 0.05)
    for i in range(n):
        axes = figure.add_subplot(math.ceil(n / side), side, i + 1)
        _draw(axes, state if kind == "vector" else state[i], kind, bounds)
    return Image.open(BytesIO(figure_png(figure, dpi=80)))


def _draw(axes: Any, item: np.ndarray, kind: str, bounds: tuple[float, float]) -> None:
    """Draw one sequence (C, L), or all vectors (n, d): a histogram for d = 1, else points of two coordinates."""
    if kind == "sequence":
        axes.plot(item[:MOST_CHANNELS].T, linewidth=0.6)
        axes.set(ylim=bounds, xticks=[], yticks=[])
    elif item.shape[1] == 1:
        axes.hist(item[:, 0], np.linspace(*bounds, 41))
        axes.set(xlim=bounds, xticks=[], yticks=[])
    else:
        axes.scatter(item[:, 0], item[:, 1], s=2, linewidths=0)
        axes.set(xlim=bounds, ylim=bounds, xticks=[], yticks=[], aspect="equal")
