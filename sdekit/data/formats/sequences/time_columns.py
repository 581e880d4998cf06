"""Detection of the column of a text file that contains the time, and of its sample rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from sdekit.data.formats.table_dialect import is_number, parse_number
from sdekit.errors import InputError
from sdekit.registry import unknown_name

TIME_NAMES = {
    *("t", "time", "times", "timestamp", "timestamps", "date", "datetime", "date time", "index", "frame", "step"),
    *("second", "seconds", "sec", "secs", "ms", "milliseconds", "hour", "hours", "minute", "minutes", "day", "days"),
}
UNIT = re.compile(r"(.*?)[\s_]*(?:[(\[]\s*([a-z]+)\s*[)\]]|[_ ](s|sec|ms))")
"""A name with a unit, such as time (s), time[ms] or time_s."""
FACTORS = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3}
"""Seconds of a unit."""
REGULAR = 0.01
"""Largest relative deviation of the steps of a regular time."""
SLOWEST = 60.0
"""Largest step in seconds for which a sample rate is recorded. Slower series are plotted by their index."""


class TimeColumn(NamedTuple):
    """Column of the time.

    Attributes:
        position: Position among the columns.
        sample_rate: Number of rows per second, or None if it is not known.
        notes: Sentences about the column.
    """

    position: int
    sample_rate: float | None
    notes: tuple[str, ...]


def find_time(names: Sequence[str], rows: Sequence[Sequence[str]], decimal: str, choice: str) -> TimeColumn | None:
    """Find the column of the time.

    It is a column with a name such as time, timestamp or "t (s)" whose values increase, or the first column if its
    values are dates or increase by equal steps. A single column is never the time.

    Arguments:
        names: Names of the columns.
        rows: Cells of the rows of one file.
        decimal: Decimal mark.
        choice: Name of the column, "none", or "auto" for the rule.
    Returns:
        The column, or None if there is none.
    Raises:
        InputError: If the chosen column does not exist.
    """
    if choice == "none" or (choice == "auto" and len(names) < 2):
        return None
    if choice != "auto":
        if choice not in names:
            raise InputError(unknown_name("column", choice, list(names), "Columns"))
        return _describe(names, rows, names.index(choice), decimal, "data.time")
    for i, name in enumerate(names):
        times = _times([row[i] for row in rows], decimal) if _base(name)[0] in TIME_NAMES else None
        if times is not None and len(times) > 1 and (np.diff(times) > 0).all():
            return _describe(names, rows, i, decimal, "its name")
    first = [row[0] for row in rows]
    times = _times(first, decimal)
    if times is not None and len(times) > 2 and (np.diff(times) > 0).all():
        dates = not is_number(first[0], decimal)
        if dates or _is_regular(np.diff(times)):
            return _describe(names, rows, 0, decimal, "its dates" if dates else "its equal steps")
    return None


def _describe(names: Sequence[str], rows: Sequence[Sequence[str]], i: int, decimal: str, reason: str) -> TimeColumn:
    """Return a column with its sample rate and notes."""
    cells = [row[i] for row in rows]
    times, notes = _times(cells, decimal), []
    kept = " (--option data.time=none keeps it as a channel)" if reason != "data.time" else ""
    notes.append(f"column '{names[i]}' is taken for the time by {reason} and is left out{kept}")
    if times is None or len(times) < 2:
        return TimeColumn(i, None, tuple(notes))
    steps = np.diff(times)
    if not _is_regular(steps):
        notes.append(
            f"the steps of '{names[i]}' vary from {steps.min():g} to {steps.max():g}: the values are treated as "
            "equally spaced"
        )
        return TimeColumn(i, None, tuple(notes))
    unit = _base(names[i])[1]
    factor = 1.0 if not is_number(cells[0], decimal) else FACTORS.get(unit)
    step = float(np.median(steps)) * (factor or 0.0)
    return TimeColumn(i, float(f"{1 / step:.6g}") if 0 < step <= SLOWEST else None, tuple(notes))


def _base(name: str) -> tuple[str, str]:
    """Return the name of a column without its unit, in lower case, and the unit or an empty text."""
    name = name.strip().lower()
    match = UNIT.fullmatch(name)
    if match is not None and match[1]:
        return match[1].replace("_", " "), match[2] or match[3]
    return name.replace("_", " "), name if name in FACTORS else ""


def _times(cells: Sequence[str], decimal: str) -> np.ndarray | None:
    """Return cells as numbers, or dates in ISO format as seconds; None if they are neither."""
    try:
        return np.array([parse_number(cell, decimal) for cell in cells])
    except ValueError:
        pass
    try:
        dates = [datetime.fromisoformat(cell) for cell in cells]
    except ValueError:
        return None
    return np.array([(date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() for date in dates])


def _is_regular(steps: np.ndarray) -> bool:
    """Return whether steps are equal up to rounding."""
    middle = float(np.median(steps))
    return middle > 0 and bool(np.abs(steps - middle).max() <= REGULAR * middle)
