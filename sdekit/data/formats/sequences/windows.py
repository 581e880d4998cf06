"""Windows of equal length, into which sequences of any length are cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sdekit.errors import InputError

LONG = 2**15
"""Length from which whole sequences are probably too long for a network."""
SECONDS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)")


class Windows(NamedTuple):
    """Windows of sequences.

    Attributes:
        sequence: Index of the sequence of each window, (N,).
        start: Index of the first value of each window, (N,).
        length: Number of values of a window.
        notes: Sentences about how the sequences were cut.
    """

    sequence: np.ndarray
    start: np.ndarray
    length: int
    notes: tuple[str, ...]


def count_values(option: int | str, name: str, sample_rate: float | None) -> int:
    """Convert an option such as 16000, "2s" or "500ms" to a number of values.

    Arguments:
        option: Number of values, or a duration.
        name: Name of the option for messages.
        sample_rate: Number of values per second, or None if it is not known.
    Returns:
        The number, at least 1.
    Raises:
        InputError: If the text is no number or duration, if the sample rate is not known, or if the result is below 1.
    """
    text = str(option).strip()
    if text.lstrip("+-").isdigit():
        number = int(text)
    elif (match := SECONDS.fullmatch(text)) is None:
        raise InputError(f"data.{name}={option}: expected a number of values, such as 16000, or a duration such as 2s")
    elif sample_rate is None:
        raise InputError(
            f"data.{name}={option}: the sample rate is not known: pass a number of values, or also "
            "--option data.sample_rate=HZ"
        )
    else:
        number = round(float(match[1]) * (0.001 if match[2] == "ms" else 1.0) * sample_rate)
    if number < 1:
        raise InputError(f"data.{name}={option}: expected at least one value")
    return number


def cut_windows(
    lengths: Sequence[int],
    names: Sequence[str],
    *,
    length: int | None,
    stride: int | None,
    source: str,
) -> Windows:
    """Cut sequences into windows of equal length.

    Arguments:
        lengths: Number of values of each sequence.
        names: Name of each sequence for messages.
        length: Number of values of a window, or None for whole sequences, which must then have one length.
        stride: Number of values between the starts of two windows; `length` if None.
        source: Name of the data set for messages.
    Returns:
        The windows, in the order of the sequences.
    Raises:
        InputError: If the lengths differ and `length` is None, if a sequence is shorter than a window, or if there are
            fewer than two windows.
    """
    shortest, longest = (int(choose(lengths)) for choose in (np.argmin, np.argmax))
    if length is None:
        if stride is not None:
            raise InputError(f"{source}: stride={stride} needs the length of the windows: pass --option data.length=N")
        if lengths[shortest] != lengths[longest]:
            raise InputError(
                f"{source}: '{names[shortest]}' has {lengths[shortest]} values and '{names[longest]}' "
                f"{lengths[longest]}; pass --option data.length={lengths[shortest]} to cut all of them into windows of "
                "that length"
            )
    window = length or lengths[shortest]
    if lengths[shortest] < window:
        short = sum(count < window for count in lengths)
        raise InputError(
            f"{source}: {short} of {len(lengths)} sequences are shorter than length={window}; the shortest, "
            f"'{names[shortest]}', has {lengths[shortest]} values: pass --option data.length={lengths[shortest]}, or "
            "remove the short ones"
        )
    starts = [np.arange(0, count - window + 1, stride or window) for count in lengths]
    total = sum(map(len, starts))
    if total < 2:
        half = max(1, window // 2)
        raise InputError(
            f"{source} contains one sequence of {lengths[0]} values; expected at least 2: pass --option "
            f"data.length=N with N of at most {half} to cut it into windows"
        )
    notes = []
    if length is not None and any(count > window for count in lengths):
        used = sum(int(part[-1]) + window for part in starts)
        rest = sum(lengths) - used
        dropped = f", and {rest} values at the ends are left out" if rest else ""
        notes.append(f"{len(lengths)} sequences are cut into {total} windows of {window} values{dropped}")
    if window >= LONG:
        notes.append(f"sequences of {window} values need much memory and time: --option data.length=N cuts them")
    sequence = np.repeat(np.arange(len(lengths)), [len(part) for part in starts])
    return Windows(sequence, np.concatenate(starts), window, tuple(notes))
