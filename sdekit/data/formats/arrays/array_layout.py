"""Choice of the axes of images in an array: grey, channels first or channels last."""

from __future__ import annotations

from typing import Literal

from sdekit.errors import InputError

LayoutChoice = Literal["auto", "channels-first", "channels-last", "grey"]

COLOURS = (1, 3, 4)
"""Usual numbers of channels: grey, RGB and RGBA."""

LAYOUTS = {"channels-first": "same", "channels-last": "hwc", "grey": "hw"}
"""Layout of `Units` by choice."""

MAX_RATIO = 4
"""Largest ratio of the sides of grey images (N, H, W). Arrays with a larger ratio are probably sequences."""


def choose_layout(shape: tuple[int, ...], choice: LayoutChoice, source: str) -> tuple[str, str]:
    """Choose the layout of images.

    Of an array (N, A, B, C), the channels are the first or the last axis of an item: the one with 1, 3 or 4 entries,
    or else the shorter one. If both have 1, 3 or 4 entries, channels come first.

    Arguments:
        shape: Shape of an array with three or four axes.
        choice: Layout given by the user, or "auto".
        source: Name of the array in messages.
    Returns:
        Layout of `Units`, and a sentence about the axes.
    Raises:
        InputError: If the layout is ambiguous or does not suit the shape.
    """
    if (choice == "grey") != (len(shape) == 3) and choice != "auto":
        expected = "(N, H, W)" if choice == "grey" else "(N, C, H, W) or (N, H, W, C)"
        raise InputError(f"{source}: layout {choice} needs an array {expected}, and the shape is {shape}")
    if len(shape) == 3:
        if choice == "auto":
            _check_not_sequences(shape, source)
        return "hw", f"the array {shape} is taken for grey images (N, H, W)"
    first, last = shape[1], shape[3]
    reason = "--option data.layout=channels-{} takes the {} axis for the channels"
    if choice == "auto":
        usual = [size in COLOURS for size in (first, last)]
        if not any(usual) and first == last:
            raise InputError(
                f"{source}: the channels of images of shape {shape} may come first or last: pass --option "
                "data.layout=channels-first or data.layout=channels-last"
            )
        channels_first = usual[0] if any(usual) else first < last
        certain = usual.count(True) == 1
        choice = "channels-first" if channels_first else "channels-last"
        other = reason.format("last", "last") if channels_first else reason.format("first", "first")
        hint = "" if certain else f" ({other})"
    else:
        hint = ""
    axes = "(N, C, H, W)" if choice == "channels-first" else "(N, H, W, C)"
    channels = first if choice == "channels-first" else last
    return LAYOUTS[choice], f"the array {shape} is taken for images {axes} of {channels} channels{hint}"


def _check_not_sequences(shape: tuple[int, ...], source: str) -> None:
    """Raise InputError if an array (N, C, L) contains sequences rather than grey images."""
    _, height, width = shape
    low, high = min(height, width), max(height, width)
    if height != width and (low <= 4 or high > MAX_RATIO * low):
        raise InputError(
            f"{source}: an array of shape {shape} seems to contain sequences (N, C, L), which are not a kind of data "
            "yet. Use .reshape(N, -1) to train on them as vectors, or pass --option data.layout=grey if they are grey "
            "images (N, H, W)"
        )
