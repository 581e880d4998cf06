"""Reading of one sequence, such as a measurement, with values that may be missing."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from sdekit.data.formats.regular_files import check_regular
from sdekit.data.formats.table_dialect import is_missing, parse_number
from sdekit.data.formats.table_layout import read_layout, table_rows
from sdekit.errors import InputError

from .audio_reading import OTHERS, WAV, examine, read_part

TEXT = (".csv", ".tsv", ".txt")


def is_sequence_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is read by `read_sequence`.

    Arguments:
        path: Path of the file.
    Returns:
        True for the suffixes of text files and audio files.
    """
    return os.fspath(path).lower().endswith((*TEXT, *WAV, *OTHERS))


def read_sequence(
    path: str | os.PathLike[str], channels: Sequence[str] = (), *, holes: bool = False, label: str = "sequence"
) -> np.ndarray:
    """Read one sequence of a text file or an audio file.

    Arguments:
        path: The file. The rows of a text file are times, and its columns are channels.
        channels: Names of the columns of a text file; all columns if empty.
        holes: Whether cells of a text file may be empty or NA; they are NaN in the result.
        label: What the file contains, for messages, such as "--measurement".
    Returns:
        Values (C, L), float64. Amplitudes of audio files are from -1 to 1.
    Raises:
        InputError: If the file cannot be read, lacks a channel, or contains a cell that is no number.
    """
    name = os.fspath(path)
    if not name.lower().endswith(TEXT):
        check_regular(name, f"{label} {name}", "an audio file")
        recording = examine(name, f"{label} {name}")
        return read_part(name, recording, 0, recording.length).astype(np.float64)
    layout = read_layout(name, "auto", "auto", None, f"{label} {name}")
    columns = list(channels) or list(layout.names)
    if layout.names == tuple(f"column{i + 1}" for i in range(len(columns))):
        columns = list(layout.names)  # a file without names
    absent = [column for column in columns if column not in layout.names]
    if absent:
        raise InputError(
            f"{label} {name} has no column {absent[0]!r}: its columns are {', '.join(layout.names)}, and the channels "
            f"of the run are {', '.join(channels)}"
        )
    positions, rows = [layout.names.index(column) for column in columns], []
    for line, cells in table_rows(layout, name):
        rows.append([_number(cells[i], layout.decimal, holes, f"{label} {name}, line {line}") for i in positions])
    if not rows:
        raise InputError(f"{label} {name} contains no rows of numbers")
    return np.array(rows).T


def _number(cell: str, decimal: str, holes: bool, place: str) -> float:
    """Return a cell as a number, NaN if it is missing."""
    if holes and is_missing(cell):
        return math.nan
    try:
        number = parse_number(cell, decimal)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number
    hint = "" if holes else ", without missing values"
    raise InputError(f"{place}: {f'{cell[:60]!r}' if cell else 'an empty cell'}; expected a finite number{hint}")
