"""Pictures as the contents of PNG files."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


def png(image: Image) -> bytes:
    """Encode a Pillow image as a PNG file.

    Arguments:
        image: The image.
    Returns:
        Content of the file.
    """
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def figure_png(figure: Figure, dpi: int = 120) -> bytes:
    """Encode a figure of matplotlib as a PNG file.

    Arguments:
        figure: The figure.
        dpi: Number of pixels per inch.
    Returns:
        Content of the file.
    """
    out = BytesIO()
    figure.savefig(out, format="png", dpi=dpi)
    return out.getvalue()
