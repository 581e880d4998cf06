"""Sentences about the conversions of images of several kinds to items of one kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .image_decoding import ImageHeader

KINDS = {"1": "1-bit", "L": "grey", "LA": "grey", "La": "grey", "P": "palette", "PA": "palette", "F": "floating-point"}
"""Names of modes of Pillow. "I" and "I;16" are "16-bit"; other modes, such as CMYK, are their own names."""


def is_deep(header: ImageHeader) -> bool:
    """Return whether an image contains grey numbers of 16 or 32 bits.

    Arguments:
        header: Header of the image.
    Returns:
        True for 16-bit and 32-bit integers and for floating-point numbers.
    """
    return header.mode.startswith(("I", "F"))


def conversion_notes(counts: Counter[ImageHeader], channels: int, deep: bool, background: str) -> Iterator[str]:
    """Yield sentences about conversions that change images.

    Arguments:
        counts: Number of images with each header.
        channels: Number of channels of an item, 1 or 3.
        deep: Whether the images have 16 or 32 bits and keep their numbers.
        background: Colour with which transparent pixels are blended.
    Yields:
        Sentences for `Dataset.notes`.
    """
    kinds, target = Counter[str](), "colour" if channels == 3 else "grey"
    for header, count in counts.items():
        kind = KINDS.get(header.mode, "16-bit" if header.mode.startswith("I") else header.mode)
        if not (deep or kind == target or header.mode in ("RGB", "RGBA", "RGBX")):
            kinds[kind] += count
    for kind, count in sorted(kinds.items()):
        yield f"{count} {kind} images are converted to {target} of 8 bits"
    if count := sum(number for header, number in counts.items() if header.alpha):
        yield (
            f"{count} images have an alpha channel or a transparent colour: transparent pixels are blended with "
            f"{background} (--option data.background=COLOUR)"
        )
    if count := sum(number for header, number in counts.items() if header.bits > 8 and not is_deep(header)):
        yield (
            f"{count} colour images of 16 bits are read with 8 bits (to keep 16 bits, convert them to an array and "
            "pass array:PATH)"
        )
    if count := sum(number for header, number in counts.items() if header.frames > 1):
        yield f"{count} files contain several frames or pages: the first one is used"
