"""Layout of a text table: its encoding, separator, decimal mark and names of columns, and its records."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sdekit.data.description import listing
from sdekit.errors import InputError

from .regular_files import check_regular
from .table_dialect import (
    SEPARATORS,
    has_row_names,
    infer_decimal,
    infer_header,
    infer_separator,
    is_missing,
    is_number,
    is_units_row,
    split_records,
)
from .table_lines import TableLines, text_encoding

SAMPLE = 200
"""Number of lines from which the layout is inferred."""

MAX_COLUMNS = 2**17
"""Largest accepted number of columns."""

SEPARATOR_WORDS = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";"}
"""Words for separators that are difficult to type."""


@dataclass(frozen=True)
class TableLayout:
    """Properties of a text table, given by the user or inferred from its first lines.

    Arguments:
        path: Text file.
        encoding: Encoding of the file.
        separator: A key of `SEPARATORS`.
        decimal: Decimal mark, "." or ",".
        names: Name of each column. Columns without a name are column1, column2, ...
        width: Number of cells of a row. It exceeds the number of names by one if every row ends with a separator.
        leading: Number of records before the data, which contain names and units.
        unnamed: Whether the first column has no name although the others have names.
        units: Unit of measurement of each column from the row below the names, or empty if there is no such row.
        sample: Cells of the first rows of data.
        notes: Sentences about the inferred properties.
    """

    path: str
    encoding: str
    separator: str
    decimal: str
    names: tuple[str, ...]
    width: int
    leading: int
    unnamed: bool
    units: tuple[str, ...]
    sample: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def read_layout(path: str, separator: str, decimal: str, header: bool | None, source: str) -> TableLayout:
    """Infer the properties of a table from its first lines, except those that are given.

    Arguments:
        path: Text file.
        separator: A key of `SEPARATORS` or a word for it, or "auto".
        decimal: "." or ",", or "auto".
        header: Whether the first record contains the names of the columns, or None.
        source: Name of the table in messages.
    Returns:
        Layout of the table.
    Raises:
        InputError: If the file is not a text table, or the decimal mark is ambiguous.
    """
    separator = SEPARATOR_WORDS.get(separator, separator)
    if separator not in ("auto", *SEPARATORS):
        raise InputError(f"{source}: separator {separator!r}; expected one of , ; | tab space")
    check_regular(path, f"table:{path}", "a .csv file")
    with _reading(path):
        with open(path, "rb") as binary:
            encoding = text_encoding(binary.read(8), f"table:{path}")
        with open(path, encoding=encoding, newline="") as file:
            reader = TableLines(file, source)
            lines = []
            for line in itertools.islice(reader, SAMPLE):
                lines.append(line)
                reader.end_record()
    if not lines:
        raise InputError(f"table:{path} is empty; expected rows of numbers")
    separator = infer_separator(lines) if separator == "auto" else separator
    records = _sample_records(lines, separator)
    decimal = infer_decimal(records, separator, source) if decimal == "auto" else decimal

    notes = []
    if len(records[-1]) > 1:
        notes += [f"cells are separated by {SEPARATORS[separator]}", f"the decimal mark is '{decimal}'"]
    elif decimal != ".":
        notes.append(f"the decimal mark is '{decimal}'")
    if len(records) > 1 and all(has_row_names(len(records[0]), len(cells), separator) for cells in records[1:]):
        records[0].insert(0, "")
    has_header = infer_header(records, decimal) if header is None else header
    names, leading, note = _column_names(records, has_header, reader.title if header is None else None, decimal)
    in_comment = not has_header and any(names)
    if header is None and not in_comment and any(is_number(cell, decimal) for cell in records[0]):
        note += f" (if not, pass --option data.header={'false' if has_header else 'true'})"
    notes.append(note)
    if leading > 1:
        notes.append(f"the row below the names contains no number, and is taken for units: {listing(records[1])}")
    if reader.comments:
        notes.append(f"{reader.comments} comment lines are left out")

    width = len(names)
    if width > MAX_COLUMNS:
        raise InputError(f"{source}: {width} columns; expected at most {MAX_COLUMNS}. Pass a wide array as array:PATH")
    rows = records[leading:]
    if width > 1 and not names[-1] and rows and not any(any(cells[width - 1 :]) for cells in rows):
        names = names[:-1]  # every row ends with a separator
    unnamed = any(names) and names[0].lower() in ("", "unnamed: 0")
    names = tuple(name or f"column{i + 1}" for i, name in enumerate(names))
    units = tuple(records[1][: len(names)]) if leading > 1 else ()
    sample = tuple(tuple(cells) for cells in rows)
    return TableLayout(path, encoding, separator, decimal, names, width, leading, unnamed, units, sample, tuple(notes))


def _column_names(
    records: list[list[str]], has_header: bool, title: str | None, decimal: str
) -> tuple[tuple[str, ...], int, str]:
    """Return the names of the columns, the number of records before the data, and a sentence about both.

    `title` is the comment directly above the first record, or None. It contains the names if it has as many cells.
    """
    if has_header:
        units = len(records) > 2 and is_units_row(records[1], records[2], decimal)
        return tuple(records[0]), 2 if units else 1, "the first row contains the names of the columns"
    for separator in SEPARATORS if title else ():
        cells = _sample_records([title or ""], separator)[0]
        if len(cells) == len(records[0]):
            return tuple(cells), 0, "the comment above the first row contains the names of the columns"
    return ("",) * len(records[0]), 0, "the first row contains numbers, not the names of the columns"


def _sample_records(lines: list[str], separator: str) -> list[list[str]]:
    """Split the first lines into records. A record with a missing quotation mark ends the list."""
    records = []
    try:
        for cells in split_records(lines, separator):
            records.append([cell.strip() for cell in cells])
    except csv.Error:  # reported with its line when the whole file is read
        pass
    if len(records) > 1 and len(lines) == SAMPLE:
        records.pop()  # it may continue in the next lines
    return records or [[lines[0].strip()]]


def table_rows(layout: TableLayout, source: str, *, empty: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line and the cells of each row of data.

    Arguments:
        layout: Layout of the table.
        source: Name of the table in messages.
        empty: Whether to yield rows of which all cells are empty too.
    Yields:
        Number of the line, from 1, and cells without white space around them.
    Raises:
        InputError: If the file cannot be read, a row has another number of cells than the first one, or a quotation
            mark is missing.
    """
    for number, line, cells in _records(layout, source):
        if number >= layout.leading and (empty or any(cells)):
            _check_width(cells, layout, line, source)
            yield line, cells[: len(layout.names)]


def header_rows(layout: TableLayout, source: str) -> list[list[str]]:
    """Return the records before the data: the names of the columns, and perhaps their units.

    Arguments:
        layout: Layout of the table.
        source: Name of the table in messages.
    Returns:
        Cells of each record.
    Raises:
        InputError: If the file cannot be read.
    """
    return [cells for _, _, cells in itertools.islice(_records(layout, source), layout.leading)]


def _records(layout: TableLayout, source: str) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the number of each record, the number of its first line, and its cells without white space around them."""
    with _reading(layout.path), open(layout.path, encoding=layout.encoding, newline="") as file:
        lines = TableLines(file, source)
        records = split_records(lines, layout.separator)
        try:
            for number, record in enumerate(records):
                yield number, lines.start, [cell.strip() for cell in record]
                lines.end_record()
        except csv.Error as error:
            raise InputError(
                f"{source}, line {lines.start} is not a record of a CSV file ({error}); a quotation mark may be missing"
            ) from error


def _check_width(cells: list[str], layout: TableLayout, line: int, source: str) -> None:
    """Raise InputError if a row has another number of cells than the first row, or a cell after its last separator."""
    names = len(layout.names)
    if len(cells) == names or len(cells) == layout.width and not any(cells[names:]):
        return
    hint = ""
    if any("\n" in cell or "\r" in cell for cell in cells):
        hint = " (a quotation mark may be missing)"
    elif layout.separator == "," and len(cells) > names and all(is_number(c, ".") or is_missing(c) for c in cells):
        hint = " (if the comma is also the decimal mark, separate the cells by semicolons)"
    raise InputError(f"{source}, line {line}: {len(cells)} cells; expected {names}, as in the first line{hint}")


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Context manager that converts errors of the file into InputError."""
    try:
        yield
    except UnicodeError as error:
        raise InputError(f"table:{path} cannot be read as text ({error}); save it as CSV in UTF-8") from error
    except OSError as error:
        raise InputError(f"table:{path} cannot be opened ({error.strerror})") from error
