"""Choice of the kind and of the axes of the items in an array: vectors, sequences, images or volumes."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from sdekit.data.dataset import KINDS
from sdekit.errors import InputError

KindChoice = Literal["auto", "vector", "sequence", "image", "volume"]
LayoutChoice = Literal["auto", "channels-first", "channels-last", "grey"]

COLOURS = (1, 3, 4)
"""Usual numbers of channels of images and volumes: grey, RGB and RGBA."""
SAMPLE = 256
"""Number of items whose range of values is examined."""
MAX_RATIO = 4
"""Largest ratio of the sides of grey images (N, H, W). Arrays with a larger ratio are probably sequences."""
SURE_RATIO = 2
"""Ratio of the sides up to which an array (N, H, W) is taken for grey images, whatever its values are."""
MOST_CHANNELS = 16
"""Largest number of channels of images, unless the user states that an array contains images."""

AXES = {
    "vector": ("d",),
    "sequence": ("L",),
    "image": ("H", "W"),
    "volume": ("D", "H", "W"),
}
"""Axes of the items of each kind without the axis of the channels."""


class Axes(NamedTuple):
    """Kind and axes of the items of an array.

    Attributes:
        kind: "vector", "sequence", "image" or "volume".
        layout: Layout of `Units`.
        note: Sentence about the choice.
    """

    kind: str
    layout: str
    note: str


def choose_axes(items: np.ndarray, kind: KindChoice, layout: LayoutChoice, source: str) -> Axes:
    """Choose the kind of the items of an array, and the axis of their channels.

    | array | kind |
    |---|---|
    | (N, d) | vectors |
    | (N, A, B), one axis has at most 4 entries or less than a quarter of the other | sequences, not for uint8 |
    | (N, A, B), one side has at most twice the entries of the other, or the values are those of pixels | grey images |
    | (N, A, B, C) | images with channels first or last |
    | (N, A, B, C, D) | volumes with channels first or last |

    Values of pixels are uint8, or numbers in [0, 1], [-1, 1] or [0, 255]. All other arrays are refused. The channels of
    a sequence are the shorter one of its axes. The channels of images and volumes are the first or the last axis of an
    item: the one with 1, 3 or 4 entries, or else the shorter one. If both have 1, 3 or 4 entries, channels come first.

    Arguments:
        items: The array.
        kind: Kind given by the user, or "auto".
        layout: Position of the channels given by the user, or "auto".
        source: Name of the array in messages.
    Returns:
        Kind and layout.
    Raises:
        InputError: If the kind or the axes are ambiguous, or do not suit the shape.
    """
    shape = items.shape
    if layout == "grey" and kind not in ("auto", "image"):
        raise InputError(f"{source}: layout grey is for grey images (N, H, W), not for kind {kind}: leave it out")
    found = _choose_kind(items, layout, source) if kind == "auto" else kind
    names = AXES[found]
    with_channels = len(shape) == len(names) + 2
    if len(shape) != len(names) + 1 and not (with_channels and found != "vector"):
        expected = f"(N, {', '.join(names)})"
        expected += "" if found == "vector" else f", (N, C, {', '.join(names)}) or (N, {', '.join(names)}, C)"
        advice = "; use .reshape(N, -1) to train on vectors" if found == "vector" else ""
        raise InputError(f"{source}: kind {found} needs an array {expected}, and the shape is {shape}{advice}")
    if (layout == "grey" and (with_channels or found != "image")) or (
        layout in ("channels-first", "channels-last") and not with_channels
    ):
        expected = "(N, H, W)" if layout == "grey" else f"(N, C, {', '.join(names)}) or (N, {', '.join(names)}, C)"
        raise InputError(f"{source}: layout {layout} needs an array {expected}, and the shape is {shape}")
    if found == "vector":
        return Axes(found, "same", f"the array {shape} is taken for vectors (N, d)")
    if not with_channels:
        grey = "grey images" if found == "image" else f"{found}s of one channel"
        hint = " (--option data.kind=sequence takes it for sequences)" if _unsure(items, kind, layout) else ""
        note = f"the array {shape} is taken for {grey} (N, {', '.join(names)}){hint}"
        return Axes(found, "".join(names).lower(), note)
    return _choose_channels(shape, found, kind, layout, source)


def _choose_kind(items: np.ndarray, layout: LayoutChoice, source: str) -> str:
    """Return the kind of the items by the number of axes, and for three axes by their lengths and the values."""
    shape = items.shape
    if len(shape) != 3:
        return KINDS[min(len(shape), 5) - 2]
    if layout != "auto":
        return "image" if layout == "grey" else "sequence"
    short, long = sorted(shape[1:])
    alike = short == long or (short > 4 and long <= MAX_RATIO * short)
    if alike and (long <= SURE_RATIO * short or _has_pixels(items)):
        return "image"
    if not alike and items.dtype not in (np.uint8, np.bool_):
        return "sequence"
    raise InputError(
        f"{source}: an array of shape {shape} may contain sequences (N, C, L) or grey images (N, H, W): pass --option "
        "data.kind=sequence or --option data.kind=image"
    )


def _unsure(items: np.ndarray, kind: KindChoice, layout: LayoutChoice) -> bool:
    """Return whether grey images might also be sequences."""
    return kind == layout == "auto" and items.dtype not in (np.uint8, np.bool_)


def _has_pixels(items: np.ndarray) -> bool:
    """Return whether the values of the first items are those of pixels."""
    if items.dtype in (np.uint8, np.bool_):
        return True
    sample = np.asarray(items[:SAMPLE])
    low, high = float(sample.min()), float(sample.max())
    return (0 <= low and high <= 1) or (-1 <= low and high <= 1) or (0 <= low and high <= 255)


def _choose_channels(shape: tuple[int, ...], found: str, kind: KindChoice, layout: LayoutChoice, source: str) -> Axes:
    """Return the axes of items with channels."""
    names = ", ".join(AXES[found])
    first, last = shape[1], shape[-1]
    reason = "--option data.layout=channels-{} takes the {} axis for the channels"
    hint = ""
    if layout == "auto":
        usual = [size in COLOURS for size in (first, last)] if found != "sequence" else [False, False]
        if not any(usual) and first == last:
            volumes = "; --option data.kind=volume takes them for volumes (N, D, H, W)" if len(shape) == 4 else ""
            raise InputError(
                f"{source}: the channels of {found}s of shape {shape} may come first or last: pass --option "
                f"data.layout=channels-first or data.layout=channels-last{volumes}"
            )
        channels_first = usual[0] if any(usual) else first < last
        certain = usual.count(True) == 1 or (found == "sequence" and max(first, last) > MAX_RATIO * min(first, last))
        if found == "image" and kind == "auto":
            _check_images(shape, first if channels_first else last, channels_first, source)
        layout = "channels-first" if channels_first else "channels-last"
        other = reason.format("last", "last") if channels_first else reason.format("first", "first")
        volumes = ", data.kind=volume takes them for volumes" if found == "image" else ""
        hint = "" if certain else f" ({other}{volumes})"
    axes = f"(N, C, {names})" if layout == "channels-first" else f"(N, {names}, C)"
    channels = first if layout == "channels-first" else last
    note = f"the array {shape} is taken for {found}s {axes} of {channels} channel{'' if channels == 1 else 's'}{hint}"
    return Axes(found, "same" if layout == "channels-first" else f"{names.replace(', ', '').lower()}c", note)


def _check_images(shape: tuple[int, ...], channels: int, channels_first: bool, source: str) -> None:
    """Raise InputError if an array of four axes probably contains sequences or volumes."""
    height, width = shape[2:] if channels_first else shape[1:3]
    if 1 in (height, width):
        length = max(height, width)
        axes = (shape[0], channels, length) if channels_first else (shape[0], length, channels)
        raise InputError(
            f"{source}: an array of shape {shape} seems to contain sequences with an axis of one entry. Use .reshape"
            f"{axes} to train on sequences, or pass --option data.kind=image if they are images of one row"
        )
    if channels > MOST_CHANNELS:
        raise InputError(
            f"{source}: an array of shape {shape} may contain volumes (N, D, H, W), or images of {channels} channels: "
            "pass --option data.kind=volume or --option data.kind=image"
        )
