"""Inference of the separator, decimal mark, header and units row of a text table from its first records."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from sdekit.errors import InputError

SEPARATORS = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','", " ": "white space"}
"""Accepted separators with their names in messages. " " stands for any number of spaces and tabs."""

MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-", "--", "."}
"""Usual contents of a cell without a value, in lower case."""

WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?", re.ASCII)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)


def split_records(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """Split lines into records of cells. Cells may be in double quotes, except with white space as separator.

    Arguments:
        lines: Lines with their line ends.
        separator: A key of `SEPARATORS`.
    Yields:
        Cells of each record.
    Raises:
        csv.Error: If a quotation mark is missing.
    """
    if separator == " ":
        return ([_unquoted(cell) for cell in line.split()] for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t")


def _unquoted(cell: str) -> str:
    """Return a cell without the quotation marks around it."""
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def parse_number(cell: str, decimal: str) -> float:
    """Convert a cell to a number with this decimal mark.

    Arguments:
        cell: Content of the cell, such as "-1.5e3".
        decimal: "." or ",".
    Returns:
        The number, which may be NaN or infinite.
    Raises:
        ValueError: If the cell is not a number in this format, for example if it has separators of thousands.
    """
    if decimal == ",":
        if "." in cell:
            raise ValueError(f"'{cell}' contains a point")
        cell = cell.replace(",", ".", 1)
    if "_" in cell or not cell.isascii():  # Python reads 1_000 and digits of other scripts as numbers
        raise ValueError(f"'{cell}' is not a number")
    return float(cell)


def is_number(cell: str, decimal: str) -> bool:
    """Return whether `parse_number` accepts the cell and the number is finite.

    Arguments:
        cell: Content of the cell.
        decimal: "." or ",".
    Returns:
        True for a finite number.
    """
    try:
        return bool(np.isfinite(parse_number(cell, decimal)))
    except ValueError:
        return False


def is_missing(cell: str) -> bool:
    """Return whether a cell has a usual content of a cell without a value.

    Arguments:
        cell: Content of the cell.
    Returns:
        True for "", "NA", "?", ...
    """
    return cell.strip().lower() in MISSING


def infer_separator(lines: list[str]) -> str:
    """Choose the separator that splits lines into equally many cells of which most are numbers.

    Arguments:
        lines: First lines of the table, without comments and blank lines.
    Returns:
        A key of `SEPARATORS`. Of equally good separators, the first one is chosen.
    """
    return max(SEPARATORS, key=lambda separator: _separator_score(lines, separator))


def _separator_score(lines: list[str], separator: str) -> float:
    """Return a score that grows with the share of records of the usual width, and of cells that are numbers."""
    try:
        records = [[cell.strip() for cell in cells] for cells in split_records(lines, separator)]
    except csv.Error:
        records = []
    records = [cells for cells in records if any(cells)]
    if not records:
        return 0.0
    body = records[1:] or records
    width = Counter(map(len, body)).most_common(1)[0][0]
    regular = sum(len(cells) == width for cells in records)
    if len(records) > 1 and has_row_names(len(records[0]), width, separator):
        regular += 1
    cells = [cell for cells in body for cell in cells]
    numbers = sum(_like_number(cell) for cell in cells)
    score = regular / len(records) * (0.5 + numbers / max(len(cells), 1))
    if width > 1:
        return score
    separated = any(all(other in line for line in lines) for other in "\t;|,")  # 1,2 below a,b is not one number
    return score / 2 if separated else 0.9 * score


def _like_number(cell: str) -> bool:
    """Return whether a cell is a number, possibly too large or with a decimal comma, or marks a missing value."""
    try:
        float(cell)
    except ValueError:
        return bool(DECIMAL_COMMA.fullmatch(cell)) or is_missing(cell)
    return True


def has_row_names(header: int, width: int, separator: str) -> bool:
    """Return whether the header lacks the name of the first column, as in tables that R writes.

    Arguments:
        header: Number of cells of the first record.
        width: Number of cells of the other records.
        separator: A key of `SEPARATORS`.
    Returns:
        True for a table separated by white space or tabs whose first record has one cell less.
    """
    return separator in (" ", "\t") and header == width - 1 and header > 0


def infer_decimal(records: list[list[str]], separator: str, source: str) -> str:
    """Infer the decimal mark from the cells.

    Arguments:
        records: First records.
        separator: A key of `SEPARATORS`.
        source: Name of the table in messages.
    Returns:
        "," if cells such as 1,5 occur and no cells such as 1.5, else ".".
    Raises:
        InputError: If commas may be decimal marks or separators of thousands.
    """
    cells = [cell.strip() for cells in records for cell in cells]
    commas = [cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)]
    if not commas or any("." in cell and is_number(cell, ".") for cell in cells):
        return "."
    if all(THOUSANDS.fullmatch(cell) for cell in commas):
        raise InputError(
            f"{source}: the comma in '{commas[0]}' may be a decimal mark or separate thousands: pass --option "
            "data.decimal=, if it is the decimal mark, or else remove the separators of thousands"
        )
    return ","


def infer_header(records: list[list[str]], decimal: str) -> bool:
    """Infer whether the first record contains the names of the columns.

    The first record is a header if one of its cells is not a number, in a column whose other cells are numbers or
    missing. It is also a header if its cells count the columns (0, 1, 2, ... or another sequence with equal steps)
    and differ in this from the other records, see `_counts_columns`.

    Arguments:
        records: First records, of equal length.
        decimal: Decimal mark.
    Returns:
        Whether the first record is a header.
    """
    first, body = records[0], records[1:]
    if not any(is_number(cell, decimal) for cell in first):
        return not all(is_missing(cell) for cell in first)
    for i, cell in enumerate(first):
        others = [cells[i] for cells in body if i < len(cells) and not is_missing(cells[i])]
        named = not is_missing(cell) or i == 0 and not cell.strip()  # an index column has no name
        if named and not is_number(cell, decimal) and others and all(is_number(other, decimal) for other in others):
            return True
    return _counts_columns([cell.strip() for cell in first], [[c.strip() for c in cells] for cells in body])


def _counts_columns(first: list[str], body: list[list[str]]) -> bool:
    """Return whether the first record contains the numbers of the columns rather than data.

    Tables that pandas writes without names have the header 0,1,2,... Such a record is data if it occurs again. The
    cells of spectra and years, such as 400,410,420, are names if all other cells have a decimal mark.
    """
    if not body or not all(WHOLE.fullmatch(cell) for cell in first):
        return False
    numbers = [int(cell) for cell in first]
    others = [cell for cells in body for cell in cells if not is_missing(cell)]
    fractions = bool(others) and not any(WHOLE.fullmatch(cell) for cell in others)
    if numbers == list(range(len(numbers))):
        return fractions or (len(numbers) > 1 and first not in body)
    steps = set(np.diff(numbers).tolist())
    return fractions and len(numbers) > 2 and len(steps) == 1 and steps != {0}


def is_units_row(cells: list[str], following: list[str] | None, decimal: str) -> bool:
    """Return whether the record after the header contains units of measurement instead of data.

    Arguments:
        cells: Record after the header.
        following: Next record, or None.
        decimal: Decimal mark.
    Returns:
        True if the record has several cells, no number and no missing cell except in unnamed units, and the next
        record contains a number.
    """
    if following is None or len(cells) < 2 or any(is_number(cell, decimal) for cell in cells):
        return False
    filled = sum(not is_missing(cell) for cell in cells)
    return filled >= 2 and any(is_number(cell, decimal) for cell in following)
