"""Sequences in text files: each file is one sequence, its rows are times and its columns are channels."""

from __future__ import annotations

import math
from array import array as packed
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sdekit.data.description import listing
from sdekit.data.formats.table_dialect import is_missing, parse_number
from sdekit.data.formats.table_layout import TableLayout, read_layout, table_rows
from sdekit.errors import InputError
from sdekit.registry import unknown_name

from .time_columns import find_time


class TextSequences(NamedTuple):
    """Sequences of all files.

    Attributes:
        sequences: Numbers of each file, (C, L) float32.
        channels: Names of the channels.
        sample_rate: Number of values per second, or None if it is not known.
        notes: Sentences about how the files were read.
    """

    sequences: list[np.ndarray]
    channels: tuple[str, ...]
    sample_rate: float | None
    notes: tuple[str, ...]


def read_text_sequences(paths: Sequence[str], names: Sequence[str], *, columns: str | None, time: str) -> TextSequences:
    """Read text files of one layout.

    Arguments:
        paths: Files.
        names: Name of each file for messages.
        columns: Names, separated by commas, of the columns that are channels; None for all columns but the time.
        time: Name of the column of the time, "none", or "auto".
    Returns:
        The sequences.
    Raises:
        InputError: If a file cannot be read, has other columns than the first file, or contains a cell that is not a
            finite number. The message gives the file, the line and the column.
    """
    first = read_layout(paths[0], "auto", "auto", None, names[0])
    rows = [cells for _, cells in table_rows(first, names[0])]
    found = find_time(first.names, rows, first.decimal, time)
    position = -1 if found is None else found.position
    unnamed = first.unnamed and position != 0 and len(first.names) > 1  # the index that pandas writes
    chosen = tuple(i for i in range(len(first.names)) if i != position and not (unnamed and i == 0))
    if columns is not None:
        chosen = _positions(columns, first.names, names[0])
    if not chosen:
        raise InputError(f"{names[0]} has no column except the time: pass --option data.time=none")
    sequences = []
    for path, name in zip(paths, names, strict=True):
        layout = read_layout(path, first.separator, first.decimal, None, name)
        if layout.names != first.names:
            raise InputError(
                f"{name} has the columns {listing(layout.names)}, and {names[0]} has {listing(first.names)}; expected "
                "the same columns in every file"
            )
        sequences.append(_read(layout, chosen, name))
    channels = tuple(first.names[i] for i in chosen)
    notes = [f"the channel{'s are' if len(channels) > 1 else ' is'} {listing(channels)}"]
    notes += [] if found is None else found.notes
    if unnamed and columns is None:
        notes.append("the first column is left out, because it has no name")
    return TextSequences(sequences, channels, None if found is None else found.sample_rate, (*notes, *first.notes))


def _positions(columns: str, names: Sequence[str], source: str) -> tuple[int, ...]:
    """Return the positions of the columns that the user chose."""
    chosen = [columns] if columns in names else [name.strip() for name in columns.split(",")]
    for name in chosen:
        if list(names).count(name) != 1:
            raise InputError(unknown_name(f"column of {source} (that occurs once)", name, list(names), "Columns"))
    return tuple(list(names).index(name) for name in chosen)


def _read(layout: TableLayout, chosen: Sequence[int], source: str) -> np.ndarray:
    """Read the chosen columns of a file, (C, L) float32."""
    numbers = packed("d")
    for line, cells in table_rows(layout, source):
        for i in chosen:
            try:
                number = parse_number(cells[i], layout.decimal)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                content = f"'{cells[i][:60]}'" if cells[i] else "an empty cell"
                advice = (
                    "fill in the value, for example by interpolation" if is_missing(cells[i]) else "correct the cell"
                )
                raise InputError(
                    f"{source}, line {line}, column '{layout.names[i]}': {content}; expected a finite number: {advice},"
                    " or select other columns with --option data.columns=NAME,NAME"
                )
            numbers.append(number)
    if not numbers:
        raise InputError(f"{source} contains no rows of numbers")
    return np.frombuffer(numbers, dtype=np.float64).reshape(-1, len(chosen)).T.astype(np.float32)
