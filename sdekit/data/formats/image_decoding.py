"""One image file to one array: size and colours from its header, pixels cropped and resized with antialiasing."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FILTER = "lanczos"  # recorded by the data set: the filter moves FID

FORMATS = ("PNG", "JPEG", "WEBP")  # nothing else is even tried: each further reader can be attacked
STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")  # of their files
GREY = ("1", "L", "LA", "I;16", "I;16B", "I")
SWAPPED = (5, 6, 7, 8)  # EXIF orientations that turn the image by a quarter
ORIENTATION = 0x0112


class Header(NamedTuple):
    """Width and height in pixels as the image is meant to be seen, and whether it has colours (WebP always has)."""

    width: int
    height: int
    colour: bool


def header(data: bytes) -> Header:
    """What the first bytes of a file say. Raises what Pillow raises, of any type, where they are no image."""
    with _opened(data) as image:
        width, height = image.size
        if "exif" in image.info and image.getexif().get(ORIENTATION) in SWAPPED:
            width, height = height, width
        return Header(width, height, image.mode not in GREY)


def decode(data: bytes, size: int | None, channels: int) -> np.ndarray:
    """Pixels (C, H, W), uint8. channels: 1 or 3; colours become grey by ITU-R 601 luma, grey becomes three equals.

    size: the centre square, resized to (C, size, size) by Lanczos with antialiasing; None leaves the image's own size.
    Transparent pixels lie on white; 16 bits are rounded to 8; EXIF orientation is applied; of an animation, the first
    frame. Raises what Pillow raises, of any type, for a damaged file.
    """
    with _opened(data) as opened:
        if size is not None:
            opened.draft(None, (2 * size, 2 * size))  # JPEG decoded at 1/2, 1/4, 1/8, never below twice the target
        image: Image.Image = opened
        if "exif" in image.info:
            image = ImageOps.exif_transpose(image)
        image.load()
        image = _flatten(image, "L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _opened(data: bytes) -> Image.Image:
    """The image before its pixels are read. Raises OSError for what is none of `FORMATS`."""
    if not data:
        raise OSError("empty file")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        begun = any(data.startswith(start) for start in STARTS)
        raise OSError("damaged or cut short" if begun else "not a PNG, JPEG or WebP image") from error


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode "L" or "RGB", without transparency and with 8 bits."""
    if image.mode.startswith("I"):
        # Pillow's own conversion clips 16 bits at 255 instead of scaling them.
        values = np.clip(np.asarray(image, dtype=np.float32) / 257, 0, 255)
        image = Image.fromarray(np.rint(values).astype(np.uint8))
    elif image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image if image.mode == mode else image.convert(mode)
