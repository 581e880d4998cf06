"""Figures of matplotlib that every notebook shows as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from .png_encoding import figure_png

if TYPE_CHECKING:
    from PIL.Image import Image


class NotebookFigure(Figure):
    """Figure of matplotlib that a notebook shows without `import matplotlib.pyplot`, which has the known formatters.

    It belongs to no backend, so that no window opens and no memory is kept when the figure is no longer used.
    """

    def _repr_png_(self) -> bytes:
        return figure_png(self, dpi=int(self.dpi))


def figure_of_picture(picture: Image) -> NotebookFigure:
    """Return a figure that shows a picture pixel by pixel, without axes.

    Arguments:
        picture: Picture of Pillow.
    Returns:
        Figure of the size of the picture at 100 pixels per inch.
    """
    figure = NotebookFigure(figsize=(picture.width / 100, picture.height / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    axes.axis("off")
    return figure
