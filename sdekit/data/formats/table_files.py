"""Data sets of vectors in a text table, such as a CSV file."""

from __future__ import annotations

import math
import os
from array import array as packed
from typing import Literal

import numpy as np

from sdekit.data.classes import number_names, whole_number
from sdekit.data.description import listing
from sdekit.data.in_memory import InMemoryDataset
from sdekit.data.labels import check_conditions
from sdekit.data.standardization import ScaleChoice, vector_units
from sdekit.errors import InputError
from sdekit.registry import unknown_name

from .table_dialect import DECIMAL_COMMA, THOUSANDS, is_missing, is_number, parse_number
from .table_layout import TableLayout, read_layout, table_rows

SELECT = "--option data.columns=NAME,NAME selects columns"


def table(
    path: str,
    *,
    label: str | None = None,
    condition: str | None = None,
    columns: str | None = None,
    header: bool | None = None,
    separator: str = "auto",
    decimal: Literal["auto", ".", ","] = "auto",
    missing: str | None = None,
    scale: ScaleChoice = "columns",
) -> InMemoryDataset:
    """Rows of a text table (CSV) as vectors, with one number for each column except labels and conditions.

    Separator, decimal mark and header are inferred from the first 200 lines, and the attribute `notes` of the data set
    states them. Comment lines (# or %) and blank lines are left out. The comment above the first row contains the names
    of the columns if it has as many cells, as in files of `numpy.savetxt`. A first column of whole numbers without a
    name, such as the index that pandas writes, is left out. A cell that is not a number in the format of the table is
    an error. Columns without a name in the file are column1, column2, ...

    Arguments:
        path: Text file in UTF-8, or in UTF-16 with a byte-order mark.
        label: Name of the column of classes, which are whole numbers or text. Its sorted distinct values become the
            labels 0, 1, ...
        condition: Names, separated by commas, of the columns of numbers on which a row is conditioned instead of a
            label.
        columns: Names, separated by commas, of the columns to train on. The default is all columns except labels and
            conditions.
        header: Whether the first row contains the names of the columns. By default this is inferred.
        separator: Separator of cells: a comma, semicolon, tab, vertical bar (|), or space for any white space. "auto"
            infers it.
        decimal: Decimal mark, a point or a comma. "auto" infers it.
        missing: Contents, separated by commas, of cells that mark missing values, such as NA,-999. Empty cells are
            missing values too. Rows with a missing value are left out. By default a missing value is an error.
        scale: Map to the units of the model. "columns" maps each column to mean 0 and standard deviation 1, "global"
            maps the range of all numbers to [-1, 1], "none" changes nothing, and "auto" is "global" if the columns
            seem to measure the same quantity, else "columns".
    Returns:
        Data set of vectors.
    Raises:
        InputError: If a cell is not a finite number (the message gives its line and column), if a row has another
            length than the first row, if a name is not a column, or if the decimal mark is ambiguous.
    """
    source = os.path.basename(path)
    if label is not None and condition is not None:
        raise InputError(f"{source}: a row has either a label or conditions: give only one of label and condition")
    layout = read_layout(path, separator, decimal, header, source)
    label_column = _label_column(label, layout.names, source)
    given = () if condition is None else _split_names(condition, layout.names, "condition", source)
    features = _features(columns, layout.names, label_column, given, source)
    reader = _RowReader(layout, (*features, *given), label_column, missing, source)
    for line, cells in table_rows(layout, source):
        reader.add(line, cells)

    numbers = reader.array()
    items, conditions = numbers[:, : len(features)], numbers[:, len(features) :]
    names, notes = tuple(layout.names[i] for i in features), [*layout.notes, *reader.notes()]
    if layout.unnamed and columns is None and features[0] == 0 and len(features) > 1 and not (items[:, 0] % 1).any():
        notes.append(f"the first column is left out, because it has no name and contains whole numbers ({SELECT})")
        items, names = items[:, 1:], names[1:]
    items = np.ascontiguousarray(items)
    notes += _suspicious_columns(items, names)
    units = vector_units(items, scale, source)
    if condition is not None:
        checked = check_conditions(conditions, len(items), tuple(layout.names[i] for i in given), source)
        data = InMemoryDataset(items, units=units, columns=names, conditions=checked)
    elif label is None:
        data = InMemoryDataset(items, units=units, columns=names)
    else:
        labels, values = number_names(_check_classes(reader.classes, reader.lines, label, source))
        data = InMemoryDataset(
            items, units=units, labels=labels, classes=len(values), class_names=values, columns=names
        )
    data.notes = (f"the columns are {listing(names)}", *notes)
    return data


def _features(
    columns: str | None, names: tuple[str, ...], label: int, given: tuple[int, ...], source: str
) -> tuple[int, ...]:
    """Return the positions of the columns to train on."""
    if columns is not None:
        features = _split_names(columns, names, "columns", source)
        if {label, *given} & set(features):
            raise InputError(f"{source}: columns={columns} contains a label or a condition: leave that column out")
        return features
    features = tuple(i for i in range(len(names)) if i != label and i not in given)
    if not features and given:
        raise InputError(f"{source}: the condition names every column; at least one must remain")
    if not features:
        raise InputError(
            f"{source}: there is no column except the label '{names[label]}'; expected at least one column of numbers"
        )
    return features


def _split_names(text: str, names: tuple[str, ...], option: str, source: str) -> tuple[int, ...]:
    """Return the positions of the columns named in an option, separated by commas."""
    chosen = [text] if text in names else [name.strip() for name in text.split(",")]
    for name in chosen:
        if names.count(name) != 1:
            raise InputError(unknown_name(f"column of {source} (that occurs once)", name, list(names), "Columns"))
    if len(set(chosen)) < len(chosen):
        raise InputError(f"{source}: the {option} '{text}' names a column twice")
    return tuple(names.index(name) for name in chosen)


class _RowReader:
    """Reader of rows, which appends the numbers and the class of each row to packed arrays.

    Arguments:
        layout: Layout of the table.
        columns: Positions of the cells to convert to numbers.
        label: Position of the label, or -1.
        missing: Contents of cells that mark missing values, see `table`.
        source: Name of the table in messages.
    """

    def __init__(
        self, layout: TableLayout, columns: tuple[int, ...], label: int, missing: str | None, source: str
    ) -> None:
        self.classes: list[str] = []
        self.lines, self._numbers = packed("q"), packed("d")
        self._left_out: list[int] = []  # lines of rows with missing values
        self._layout, self._columns, self._label, self._source = layout, columns, label, source
        self._markers = None if missing is None else {"", *(marker.strip().lower() for marker in missing.split(","))}
        texts = self._markers or ()
        self._values = {parse_number(text, ".") for text in texts if is_number(text, ".")}

    def add(self, line: int, cells: list[str]) -> None:
        """Append one row, or leave it out if a value is missing. A bad cell raises InputError."""
        if self._markers is not None and any(
            cells[i].lower() in self._markers for i in (*self._columns, *((self._label,) if self._label >= 0 else ()))
        ):
            self._left_out.append(line)
            return
        numbers = []
        for i in self._columns:
            try:
                number = parse_number(cells[i], self._layout.decimal)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise InputError(self._bad_cell(line, i, cells[i]))
            numbers.append(number)
        if not self._values.isdisjoint(numbers):  # -999.0 is the marker -999
            self._left_out.append(line)
            return
        if self._label >= 0:
            if not cells[self._label]:
                place = f"{self._source}, line {line}, column '{self._layout.names[self._label]}'"
                raise InputError(f"{place}: the label is missing; fill it in or remove the row")
            self.classes.append(cells[self._label])
        self._numbers.extend(numbers)
        self.lines.append(line)

    def array(self) -> np.ndarray:
        """Return the numbers (N, columns) float64. Fewer than two rows raise InputError."""
        if len(self.lines) < 2:
            left_out = f" ({len(self._left_out)} rows with missing values are left out)" if self._left_out else ""
            raise InputError(f"{self._source}: {len(self.lines)} rows of numbers{left_out}; expected at least 2")
        return np.frombuffer(self._numbers, dtype=np.float64).reshape(-1, len(self._columns))

    def notes(self) -> list[str]:
        """Return a sentence about the rows that are left out, if there are any."""
        if not self._left_out:
            return []
        return [f"{len(self._left_out)} rows with missing values are left out, the first in line {self._left_out[0]}"]

    def _bad_cell(self, line: int, i: int, cell: str) -> str:
        """Return the message for a cell that is not a number."""
        decimal, first_line = self._layout.decimal, cell.splitlines()[0] if cell else ""
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
                "Correct the cell or remove the row; declare a column of classes with --option data.label=NAME; "
                f"{SELECT}"
            )
        quoted = " (a quotation mark may be missing)" if first_line != cell else ""
        content = f"'{first_line[:60]}'" if cell else "an empty cell"
        place = f"{self._source}, line {line}, column '{self._layout.names[i]}'"
        return f"{place}: {content}; expected a finite number{quoted}. {advice}."


def _suspicious_columns(items: np.ndarray, names: tuple[str, ...]) -> list[str]:
    """Return sentences about columns that count the rows or seem to contain markers of missing values."""
    notes = []
    for column, name in zip(items.T, names, strict=True):
        if len(column) > 3 and (np.diff(column) == 1).all() and column[0] in (0, 1):
            notes.append(f"column '{name}' numbers the rows, and is trained on ({SELECT})")
        marker = _missing_marker(column)
        if marker is not None:
            count = int((column == marker).sum())
            notes.append(
                f"column '{name}' contains {marker:g} in {count} rows, far from all other values; if it marks missing "
                f"values, --option data.missing={marker:g} leaves out such rows"
            )
    return notes


def _missing_marker(column: np.ndarray) -> float | None:
    """Return an extreme value that is farther from all others than twice their range, if it looks like a marker.

    Markers are numbers such as -999, -99.9 or 9999, or any extreme value that occurs several times.
    """
    for marker in (float(column.min()), float(column.max())):
        others = column[column != marker]
        if len(others) < 4:
            continue
        low, high = float(others.min()), float(others.max())
        gap = max(low - marker, marker - high)
        nines = set(f"{abs(marker):g}".replace(".", "")) == {"9"}
        if gap > 2 * (high - low) > 0 and (nines or len(column) - len(others) > 1):
            return marker
    return None


def _label_column(label: str | None, names: tuple[str, ...], source: str) -> int:
    """Return the position of the label column, or -1 if there is none."""
    if label is None:
        return -1
    if names.count(label) != 1:
        problem = "no column" if label not in names else f"{names.count(label)} columns"
        raise InputError(f"{source}: {problem} named '{label}'; the columns are {', '.join(names)}")
    return names.index(label)


def _check_classes(classes: list[str], lines: packed[int], label: str, source: str) -> list[str]:
    """Return the classes of all rows. If all are numbers, a number that is not whole raises InputError."""
    if all(is_number(name, ".") for name in set(classes)):
        for name, line in zip(classes, lines, strict=True):
            if whole_number(name) is None:
                problem = f"label {name}; expected whole numbers or text"
                raise InputError(f"{source}, line {line}, column '{label}': {problem}")
    return classes
