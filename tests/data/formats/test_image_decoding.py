"""Decoding of one image: colours, depth, orientation, antialiasing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sdekit.data.formats import decode_image, read_image_header


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_antialiased(kind: str) -> None:
    """Nothing of a one-pixel checkerboard survives 8-fold reduction: mid-grey, where sampling gives 0 or 255."""
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    data = encoded(Image.fromarray(board).convert("RGB"), kind, quality=100, lossless=True)
    small = decode_image(data, 32, 3)
    assert small.shape == (3, 32, 32) and small.dtype == np.uint8
    assert np.abs(small.astype(int) - 127).max() <= 4


def test_draft_agrees_with_full_decoding() -> None:
    smooth = np.add.outer(np.linspace(0, 127, 512), np.linspace(0, 127, 640)).astype(np.uint8)
    image = Image.fromarray(smooth).convert("RGB")
    drafted, full = decode_image(encoded(image, "JPEG", quality=95), 32, 3), decode_image(encoded(image), 32, 3)
    assert np.abs(drafted.astype(int) - full).max() <= 2


def test_centre_crop() -> None:
    pixels = np.zeros((4, 10, 3), np.uint8)
    pixels[:, 3:7] = 200
    assert (decode_image(encoded(Image.fromarray(pixels)), 4, 3) == 200).all()
    assert (decode_image(encoded(Image.fromarray(pixels.transpose(1, 0, 2).copy())), 4, 3) == 200).all()
    assert decode_image(encoded(Image.fromarray(pixels)), None, 3).shape == (3, 4, 10)


@pytest.mark.parametrize(
    ("image", "channels", "expected"),
    [
        (Image.new("L", (2, 2), 7), 1, [7]),
        (Image.new("L", (2, 2), 7), 3, [7, 7, 7]),
        (Image.new("1", (2, 2), 1), 1, [255]),
        (Image.new("RGB", (2, 2), (1, 2, 3)), 3, [1, 2, 3]),
        (Image.new("RGB", (2, 2), (255, 0, 0)), 1, [76]),
        (Image.new("RGB", (2, 2), (1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE), 3, [1, 2, 3]),
        (Image.new("RGBA", (2, 2), (9, 9, 9, 0)), 3, [255, 255, 255]),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 51)), 3, [204, 204, 204]),
        (Image.new("LA", (2, 2), (9, 0)), 1, [255]),
        (Image.new("I;16", (2, 2), 65535), 1, [255]),
        (Image.new("I;16", (2, 2), 257 * 100 + 1), 3, [100, 100, 100]),
    ],
)
def test_modes(image: Image.Image, channels: int, expected: list[int]) -> None:
    pixels = decode_image(encoded(image), None, channels)
    assert pixels.shape == (channels, 2, 2) and pixels[:, 1, 1].tolist() == expected


@pytest.mark.parametrize(("mode", "colour"), [("1", 0), ("L", 0), ("LA", 0), ("I;16", 0), ("RGB", 1), ("P", 1)])
def test_header(mode: str, colour: int) -> None:
    assert read_image_header(encoded(Image.new(mode, (5, 3))))[:3] == (5, 3, bool(colour))


def test_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new("RGB", (16, 8)), "JPEG", exif=exif)
    assert read_image_header(data)[:2] == (8, 16) and decode_image(data, None, 3).shape == (3, 16, 8)


def test_other_formats_are_refused() -> None:
    with pytest.raises(OSError, match="^not a PNG, JPEG, WebP, BMP, TIFF, GIF or PPM image$"):
        read_image_header(encoded(Image.new("RGB", (2, 2)), "ICO"))


def test_what_is_no_image_is_told() -> None:
    """In words that name no object of Python."""
    whole = encoded(Image.new("RGB", (8, 8)))
    for data, message in ((b"", "empty file"), (b"hello", "not a PNG, JPEG"), (whole[:9], "damaged, cut short")):
        for read in (read_image_header, lambda data: decode_image(data, None, 3)):
            with pytest.raises(OSError, match=message):
                read(data)
