"""Functions that read the size and colours of an image file, and that decode, crop and resize its pixels."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FILTER = "lanczos"
"""Name of the resizing filter, recorded by data sets because it changes the FID."""

FORMATS = ("PNG", "JPEG", "WEBP")  # other decoders are not used, because files can attack them
FIRST_BYTES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")  # of files in these formats
GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I")
QUARTER_TURNS = (5, 6, 7, 8)  # values of the EXIF tag for images rotated by 90 degrees
ORIENTATION_TAG = 0x0112


class ImageHeader(NamedTuple):
    """Size and colours of an image.

    Arguments:
        width: Width in pixels, after the EXIF rotation.
        height: Height in pixels, after the EXIF rotation.
        colour: Whether the image has colours. It is always true for WebP.
    """

    width: int
    height: int
    colour: bool


def read_image_header(data: bytes) -> ImageHeader:
    """Read the header of an image file.

    Arguments:
        data: First bytes of the file.
    Returns:
        Size and colours of the image.
    Raises:
        Exception: Any exception of Pillow, if the bytes are no PNG, JPEG or WebP image.
    """
    with _opened(data) as image:
        width, height = image.size
        if "exif" in image.info and image.getexif().get(ORIENTATION_TAG) in QUARTER_TURNS:
            width, height = height, width
        return ImageHeader(width, height, image.mode not in GREY_MODES)


def decode_image(data: bytes, size: int | None, channels: int) -> np.ndarray:
    """Decode an image file, and crop and resize it.

    Transparent pixels are blended with white. 16 bits are rounded to 8 bits. The EXIF orientation is applied. The first
    frame of an animation is used.

    Arguments:
        data: Bytes of the file.
        size: Side in pixels to which the centre square is resized, by an antialiased Lanczos filter. None keeps the
            size of the image.
        channels: 1 or 3. Colours are converted to grey with the weights of ITU-R 601.
    Returns:
        Pixels (C, H, W), uint8.
    Raises:
        Exception: Any exception of Pillow, if the file is damaged.
    """
    with _opened(data) as opened:
        if size is not None:
            opened.draft(None, (2 * size, 2 * size))  # decodes JPEG at 1/2, 1/4 or 1/8 scale, at least at 2 * size
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
    """Open an image without reading its pixels. Another format raises OSError."""
    if not data:
        raise OSError("empty file")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        recognized = any(data.startswith(start) for start in FIRST_BYTES)
        raise OSError("damaged or cut short" if recognized else "not a PNG, JPEG or WebP image") from error


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image to the mode "L" or "RGB", with 8 bits and without transparency."""
    if image.mode.startswith("I"):
        # The conversion of Pillow clips 16 bits at 255 instead of scaling them.
        values = np.clip(np.asarray(image, dtype=np.float32) / 257, 0, 255)
        image = Image.fromarray(np.rint(values).astype(np.uint8))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == mode else image.convert(mode)
