"""Functions that read the size and colours of an image file, and that decode, crop and resize its pixels."""

from __future__ import annotations

import io
import re
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from sdekit.errors import InputError

FILTER = "lanczos"
"""Name of the resizing filter, recorded by data sets because it changes the FID."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Formats that are decoded. Other decoders of Pillow are not used, because files can attack them."""

FORMAT_NAMES = "PNG, JPEG, WebP, BMP, TIFF, GIF or PPM"
FIRST_BYTES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"GIF8")  # of files in these formats
GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I", "F")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
QUARTER_TURNS = (5, 6, 7, 8)  # values of the EXIF tag for images rotated by 90 degrees
ORIENTATION_TAG = 0x0112
BITS_PER_SAMPLE_TAG, SAMPLES_PER_PIXEL_TAG = 258, 277  # of TIFF files

MAX_PIXELS = 89_000_000
"""Largest number of pixels of an image. A small file can claim a picture that does not fit into memory."""

MAX_SIDE = 2**14
"""Largest side to which images are resized."""

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # larger images are refused here


class ImageHeader(NamedTuple):
    """Size and colours of an image.

    Arguments:
        width: Width in pixels, after the EXIF rotation.
        height: Height in pixels, after the EXIF rotation.
        colour: Whether the image has colours. It is always true for WebP.
        mode: Name of the mode in Pillow, such as "RGB", "P" or "I;16".
        alpha: Whether the image may have transparent pixels.
        bits: Number of bits of a channel in the file: 8, 16 or 32.
        frames: Number of frames or pages.
    """

    width: int
    height: int
    colour: bool
    mode: str
    alpha: bool
    bits: int
    frames: int


def read_image_header(data: bytes) -> ImageHeader:
    """Read the header of an image file.

    Arguments:
        data: First bytes of the file.
    Returns:
        Size and colours of the image.
    Raises:
        Exception: Any exception of Pillow, if the bytes are not an image in one of the `FORMATS`, or if it has more
            than `MAX_PIXELS` pixels.
    """
    with _opened(data) as image:
        width, height = image.size
        if "exif" in image.info and image.getexif().get(ORIENTATION_TAG) in QUARTER_TURNS:
            width, height = height, width
        alpha = image.mode in ALPHA_MODES or image.has_transparency_data
        frames = int(getattr(image, "n_frames", 1))
        return ImageHeader(width, height, image.mode not in GREY_MODES, image.mode, alpha, _bits(image, data), frames)


def decode_image(
    data: bytes,
    size: int | tuple[int, int] | None,
    channels: int,
    *,
    background: str | None = "white",
    deep: bool = False,
) -> np.ndarray:
    """Decode an image file, and crop and resize it.

    The EXIF orientation is applied. The first frame of an animation is used.

    Arguments:
        data: Bytes of the file.
        size: Side, or width and height, in pixels, to which the centre of the image is resized by an antialiased
            Lanczos filter. None keeps the size of the image.
        channels: 1 or 3. Colours are converted to grey with the weights of ITU-R 601.
        background: Colour with which transparent pixels are blended. None ignores their transparency.
        deep: Whether to keep the numbers of a grey image of 16 or 32 bits. Otherwise 16 bits are rounded to 8 bits.
    Returns:
        Pixels (C, H, W), uint8, or float32 if `deep`.
    Raises:
        Exception: Any exception of Pillow, if the file is damaged or has more than `MAX_PIXELS` pixels.
    """
    target = (size, size) if isinstance(size, int) else size
    with _opened(data) as opened:
        if target is not None:
            opened.draft(None, (2 * max(target), 2 * max(target)))  # decodes JPEG at 1/2, 1/4 or 1/8 scale, or fully
        image: Image.Image = opened
        if "exif" in image.info:
            image = ImageOps.exif_transpose(image)
        image.load()
        return convert_image(image, target, channels, background=background, deep=deep)


def convert_image(
    image: Image.Image,
    size: tuple[int, int] | None,
    channels: int,
    *,
    background: str | None = "white",
    deep: bool = False,
) -> np.ndarray:
    """Convert an image to an array of pixels, and crop and resize it.

    Arguments:
        image: Image with its pixels.
        size: Width and height in pixels, or None, see `decode_image`.
        channels: 1 or 3.
        background: Colour with which transparent pixels are blended, or None.
        deep: Whether to keep the numbers of a grey image of 16 or 32 bits.
    Returns:
        Pixels (C, H, W), uint8, or float32 if `deep`.
    Raises:
        ValueError: If the kind of the image does not suit `deep`.
    """
    image = Image.fromarray(_numbers(image)) if deep else _flatten(image, "L" if channels == 1 else "RGB", background)
    if size is not None and image.size != size:
        image = _resized(image, size)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def decode_alpha(data: bytes) -> np.ndarray | None:
    """Decode the alpha channel of an image file.

    Arguments:
        data: Bytes of the file.
    Returns:
        Opacity (H, W), uint8 from 0 (transparent) to 255, or None if every pixel is opaque.
    Raises:
        Exception: Any exception of Pillow, if the file is damaged.
    """
    with _opened(data) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened) if "exif" in opened.info else opened
        image.load()
        if not image.has_transparency_data:
            return None
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    return None if alpha.min() == 255 else alpha


def parse_size(size: int | str | None) -> tuple[int, int] | None:
    """Parse the size of an image.

    Arguments:
        size: Side in pixels, or a text such as "64x48" with width and height.
    Returns:
        Width and height, or None for None.
    Raises:
        InputError: If the text has another form, or a side is out of range.
    """
    if size is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,9})\s*(?:[xX×]\s*(\d{1,9})\s*)?", str(size))
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InputError(
            f"size = {size}: expected a number of pixels from 1 to {MAX_SIDE}, or WIDTHxHEIGHT such as 64x48"
        )
    return width, height


def check_colour(colour: str) -> None:
    """Raise InputError unless a text is a colour.

    Arguments:
        colour: Name such as "white", or hexadecimal digits such as "#ff8000".
    """
    try:
        ImageColor.getrgb(colour)
    except ValueError as error:
        raise InputError(f"background = {colour}: expected a colour such as white, black or #ff8000") from error


def _opened(data: bytes) -> Image.Image:
    """Open an image without reading its pixels. Another format or too many pixels raise OSError."""
    if not data:
        raise OSError("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        recognized = any(data.startswith(start) for start in FIRST_BYTES)
        problem = "damaged, cut short or of an unknown kind" if recognized else f"not a {FORMAT_NAMES} image"
        if data.startswith((b"II*\0", b"MM\0*")):
            problem += ", such as a TIFF image of many bands; convert such images to one array and pass array:PATH"
        raise OSError(problem) from error
    except Image.DecompressionBombError as error:
        raise OSError(f"more than {MAX_PIXELS // 1_000_000} million pixels") from error
    if image.width * image.height > MAX_PIXELS:
        raise OSError(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS // 1_000_000} million")
    bands = getattr(image, "tag_v2", {}).get(SAMPLES_PER_PIXEL_TAG, 1)
    if bands > 4:  # Pillow would leave out all but three or four
        raise OSError(
            f"a TIFF image of {bands} bands; convert such images to one array (N, {bands}, H, W) and pass array:PATH"
        )
    return image


def _bits(image: Image.Image, data: bytes) -> int:
    """Return the number of bits of a channel in the file. Pillow decodes colours of 16 bits with 8 bits."""
    if image.mode in ("I", "F"):
        return 32 if image.format != "PPM" else 16
    if image.mode.startswith("I;16"):
        return 16
    if image.format == "PNG":
        return max(8, data[24])
    tags = getattr(image, "tag_v2", None)
    return 8 if tags is None else max(8, *np.atleast_1d(tags.get(BITS_PER_SAMPLE_TAG, 8)).tolist())


def _numbers(image: Image.Image) -> np.ndarray:
    """Return the numbers of a grey image as float32. Colours and numbers that are not finite raise ValueError."""
    numbers = np.asarray(image, dtype=np.float32)
    if numbers.ndim != 2:
        raise ValueError(f"it is of kind {image.mode}; expected one number of 16 or 32 bits for each pixel")
    if not np.isfinite(numbers).all():
        raise ValueError("it contains numbers that are not finite")
    return numbers


def _resized(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Crop the largest centre rectangle with the aspect ratio of the target, and resize it."""
    scale = min(image.width / target[0], image.height / target[1])
    width, height = round(target[0] * scale), round(target[1] * scale)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
    resized = image.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if image.mode != "F":
        return resized
    low, high = image.getextrema()
    return Image.fromarray(np.asarray(resized).clip(low, high))  # Pillow clips overshoots of 8 bits itself


def _flatten(image: Image.Image, mode: str, background: str | None) -> Image.Image:
    """Convert an image to the mode "L" or "RGB", with 8 bits and without transparency."""
    if image.mode == "F":
        raise ValueError("it contains floating-point numbers, which have no 8-bit values")
    if image.mode.startswith("I"):
        # The conversion of Pillow clips 16 bits at 255 instead of scaling them.
        values = np.clip(np.asarray(image, dtype=np.float32) / 257, 0, 255)
        image = Image.fromarray(np.rint(values).astype(np.uint8))
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        if background is not None:
            rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba)
        image = rgba.convert("RGB")
    return image if image.mode == mode else image.convert(mode)
