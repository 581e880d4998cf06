"""Conversion of the rows of a text table to numbers, categories and classes."""

from __future__ import annotations

import math
from array import array as packed

import numpy as np

from sdekit.data.tables import MOST_DECIMALS
from sdekit.errors import InputError

from .table_dialect import DECIMAL_COMMA, THOUSANDS, is_missing, is_number, parse_number
from .table_layout import TableLayout

SELECT = "--option data.columns=NAME,NAME selects columns"


class RowReader:
    """Reader of rows, which appends the numbers, categories and class of each row to packed arrays.

    Arguments:
        layout: Layout of the table.
        numbers: Positions of the cells to convert to numbers.
        categories: Positions of the cells with a value of a category.
        label: Position of the label, or -1.
        missing: Contents of cells that mark missing values, see `table`.
        source: Name of the table in messages.
    """

    def __init__(
        self,
        layout: TableLayout,
        numbers: tuple[int, ...],
        categories: tuple[int, ...],
        label: int,
        missing: str | None,
        source: str,
    ) -> None:
        self.classes: list[str] = []
        self.decimals = [0] * len(numbers)
        """Largest number of decimals of each number; more than `MOST_DECIMALS` stands for full precision."""
        self.lines, self._numbers = packed("q"), packed("d")
        self._texts: dict[str, int] = {}
        self._categories = packed("q")
        self._left_out: list[int] = []  # lines of rows with missing values
        self._layout, self._columns, self._label, self._source = layout, numbers, label, source
        self._category_columns = categories
        self._required = (*numbers, *categories, *((label,) if label >= 0 else ()))
        self._markers = None if missing is None else {"", *(marker.strip().lower() for marker in missing.split(","))}
        texts = self._markers or ()
        self._values = {parse_number(text, ".") for text in texts if is_number(text, ".")}

    def add(self, line: int, cells: list[str]) -> None:
        """Append one row, or leave it out if a value is missing. A bad cell raises InputError."""
        if self._markers is not None and any(cells[i].lower() in self._markers for i in self._required):
            self._left_out.append(line)
            return
        numbers = []
        for k, i in enumerate(self._columns):
            cell = cells[i]
            try:
                number = parse_number(cell, self._layout.decimal)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise InputError(self._bad_cell(line, i, cell))
            numbers.append(number)
            if self.decimals[k] <= MOST_DECIMALS:
                self.decimals[k] = max(self.decimals[k], _decimals(cell, self._layout.decimal))
        if not self._values.isdisjoint(numbers):  # -999.0 is the marker -999
            self._left_out.append(line)
            return
        for i in self._category_columns:
            if is_missing(cells[i]):
                raise InputError(self._missing_cell(line, i, cells[i]))
            self._categories.append(self._texts.setdefault(cells[i], len(self._texts)))
        if self._label >= 0:
            if not cells[self._label]:
                place = f"{self._source}, line {line}, column '{self._layout.names[self._label]}'"
                raise InputError(f"{place}: the label is missing; fill it in or remove the row")
            self.classes.append(cells[self._label])
        self._numbers.extend(numbers)
        self.lines.append(line)

    def numbers(self) -> np.ndarray:
        """Return the numbers (N, columns) float64. Fewer than two rows raise InputError."""
        if len(self.lines) < 2:
            left_out = f" ({len(self._left_out)} rows with missing values are left out)" if self._left_out else ""
            raise InputError(f"{self._source}: {len(self.lines)} rows of numbers{left_out}; expected at least 2")
        return np.frombuffer(self._numbers, dtype=np.float64).reshape(len(self.lines), len(self._columns))

    def texts(self) -> dict[int, np.ndarray]:
        """Return the texts (N,) of each category by its position in the table."""
        names = np.array(list(self._texts), dtype=object)
        positions = np.frombuffer(self._categories, dtype=np.int64).reshape(-1, max(1, len(self._category_columns)))
        return {i: names[positions[:, k]] for k, i in enumerate(self._category_columns)}

    def notes(self) -> list[str]:
        """Return a sentence about the rows that are left out, if there are any."""
        if not self._left_out:
            return []
        return [f"{len(self._left_out)} rows with missing values are left out, the first in line {self._left_out[0]}"]

    def _missing_cell(self, line: int, i: int, cell: str) -> str:
        """Return the message for a missing value of a category."""
        place = f"{self._source}, line {line}, column '{self._layout.names[i]}'"
        content = f"'{cell}'" if cell else "an empty cell"
        return (
            f"{place}: {content}; expected a value. Fill in the value, or leave out such rows with --option "
            f"data.missing={cell or 'NA'}."
        )

    def _bad_cell(self, line: int, i: int, cell: str) -> str:
        """Return the message for a cell that is not a number."""
        decimal, first_line = self._layout.decimal, cell.splitlines()[0] if cell else ""
        name = self._layout.names[i]
        if is_missing(cell):
            marker = cell or "NA"
            advice = f"Fill in the value, or leave out such rows with --option data.missing={marker}"
        elif DECIMAL_COMMA.fullmatch(cell) and decimal == ".":
            thousands = " or separates thousands" if THOUSANDS.fullmatch(cell) else ""
            advice = (
                "The decimal mark is taken to be a point. If the comma is the decimal mark, pass --option "
                f"data.decimal=, ; if the cell is an error{thousands}, correct it"
            )
        elif decimal == "," and is_number(cell.replace(",", ""), "."):
            advice = "The decimal mark is taken to be a comma; --option data.decimal=. changes it"
        elif is_number(cell.replace(",", "").replace("_", "").replace(" ", ""), "."):
            advice = "Remove the separators of thousands"
        else:
            advice = (
                f"Correct the cell or remove the row; if the column contains categories, pass --option "
                f"data.categories={name}; declare a column of classes with --option data.label=NAME; {SELECT}"
            )
        quoted = " (a quotation mark may be missing)" if first_line != cell else ""
        content = f"'{first_line[:60]}'" if cell else "an empty cell"
        place = f"{self._source}, line {line}, column '{name}'"
        return f"{place}: {content}; expected a finite number{quoted}. {advice}."


def _decimals(cell: str, decimal: str) -> int:
    """Return the number of decimals of a number, and `MOST_DECIMALS + 1` for a number with an exponent."""
    if "e" in cell or "E" in cell:
        return MOST_DECIMALS + 1
    mark = cell.find(decimal)
    return 0 if mark < 0 else max(1, len(cell) - mark - 1)


def text_columns(layout: TableLayout, positions: tuple[int, ...], source: str) -> tuple[int, ...]:
    """Find the columns of texts, of which no cell in the first rows is a number.

    Arguments:
        layout: Layout of the table.
        positions: Positions of the columns to examine.
        source: Name of the table in messages.
    Returns:
        Positions of the columns of texts.
    Raises:
        InputError: If a column contains dates or times.
    """
    found = []
    for i in positions:
        cells = [cells[i] for cells in layout.sample if i < len(cells) and not is_missing(cells[i])]
        if not cells or any(_like_number(cell) for cell in cells):
            continue
        if all(_is_date(cell) for cell in cells):
            raise InputError(
                f"{source}, column '{layout.names[i]}' contains dates or times such as '{cells[0][:30]}'; convert them "
                f"to numbers, such as days since a date, or leave the column out ({SELECT})"
            )
        found.append(i)
    return tuple(found)


def _like_number(cell: str) -> bool:
    """Return whether a cell is a number in any usual format, finite or not."""
    try:
        float(cell.replace(",", "").replace(" ", ""))
    except ValueError:
        return False
    return True


def _is_date(cell: str) -> bool:
    """Return whether a cell is a date or a time of day: digits with at least two separators, such as 2024-01-31."""
    parts = cell.replace("T", " ").replace("Z", "").translate(str.maketrans("-/.:", "    ")).split()
    return len(parts) >= 2 and sum(cell.count(mark) for mark in "-/.:") >= 2 and all(part.isdigit() for part in parts)
