"""Data sets of vectors in a CSV file with commas, semicolons or tabs as separators."""

from __future__ import annotations

import csv
import math
import os
from array import array as packed
from collections.abc import Iterator

import numpy as np

from sdekit.data.in_memory import InMemoryDataset
from sdekit.data.labels import check_conditions
from sdekit.data.standardization import ScaleChoice, vector_units
from sdekit.errors import InputError
from sdekit.registry import unknown_name

NEW_LINE = "\n"


def table(
    path: str, *, label: str | None = None, condition: str | None = None, scale: ScaleChoice = "columns"
) -> InMemoryDataset:
    """Rows of a CSV file as vectors, with one number for each column except labels and conditions.

    Cells are separated by commas, semicolons or tabs, whichever is most frequent in the first line. The first line is a
    header if none of its cells is a number. Without a header the columns are column1, column2, ...

    Arguments:
        path: CSV file in UTF-8.
        label: Name of the column of classes, which are whole numbers or text. Its sorted distinct values become the
            labels 0, 1, ...
        condition: Names, separated by commas, of the columns of numbers on which a row is conditioned instead of a
            label.
        scale: Map to the units of the model. "columns" maps each column to mean 0 and standard deviation 1, "global"
            maps the range of all numbers to [-1, 1], "none" changes nothing, and "auto" is "global" if the columns
            seem to measure the same quantity, else "columns".
    Returns:
        Data set of vectors.
    Raises:
        InputError: If a cell is not a finite number (the message gives its line and column), if a row has another
            length than the first row, or if a label or condition is not a column.
    """
    source = os.path.basename(path)
    rows = _rows(path)
    if label is not None and condition is not None:
        raise InputError(f"{source}: a row has either a label or conditions: give only one of label and condition")
    line, first = next(rows, (0, []))
    if not first:
        raise InputError(f"table:{path} is empty; expected rows of numbers")
    header = not any(_is_number(cell) for cell in first)
    names = tuple(cell.strip() for cell in first) if header else tuple(f"column{i + 1}" for i in range(len(first)))
    skip = _label_column(label, names, source)
    columns = tuple(name for i, name in enumerate(names) if i != skip)
    if not columns:
        raise InputError(
            f"{source}: there is no column except the label '{label}'; expected at least one column of numbers"
        )

    numbers = packed("d")
    classes: list[str] = []
    lines = packed("q")
    if not header:
        _read_row(first, line, names, skip, numbers, classes, source)
        lines.append(line)
    for line, cells in rows:
        _read_row(cells, line, names, skip, numbers, classes, source)
        lines.append(line)
    if len(lines) < 2:
        raise InputError(f"{source}: {len(lines)} rows of numbers; expected at least 2")

    items = np.frombuffer(numbers, dtype=np.float64).reshape(-1, len(columns))
    if condition is not None:
        return _with_conditions(items, columns, condition, scale, source)
    units = vector_units(items, scale, source)
    if label is None:
        return InMemoryDataset(items, units=units, columns=columns)
    values, labels = _number_classes(classes, lines, label, source)
    return InMemoryDataset(items, units=units, labels=labels, classes=len(values), class_names=values, columns=columns)


def _with_conditions(
    items: np.ndarray, columns: tuple[str, ...], condition: str, scale: ScaleChoice, source: str
) -> InMemoryDataset:
    """Return a data set with the columns named in `condition` as conditions."""
    names = tuple(name.strip() for name in condition.split(","))
    for name in names:
        if columns.count(name) != 1:
            raise InputError(unknown_name(f"column of {source} (that occurs once)", name, list(columns), "Columns"))
    features = tuple(name for name in columns if name not in names)
    if not features or len(set(names)) < len(names):
        problem = "a column twice" if features else "every column; at least one must remain"
        raise InputError(f"{source}: the condition '{condition}' names {problem}")
    numbers = items[:, [columns.index(name) for name in names]]
    vectors = np.ascontiguousarray(items[:, [columns.index(name) for name in features]])
    conditions = check_conditions(numbers, len(items), names, source)
    return InMemoryDataset(vectors, units=vector_units(vectors, scale, source), columns=features, conditions=conditions)


def _rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line (from 1) and the cells of every record that is not blank."""
    line = 1
    if not os.path.isfile(path):
        raise InputError(f"table:{path}: no such file; expected a .csv file")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # spreadsheets write a byte-order mark
            start = file.readline()
            while start and not start.strip():
                start = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max(",;\t", key=start.count), skipinitialspace=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield line, cells
                line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise InputError(f"table:{path} cannot be read as text ({error}); save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise InputError(
            f"table:{path}, line {line} is no record of a CSV file ({error}); a quotation mark may be missing"
        ) from error
    except OSError as error:
        raise InputError(f"table:{path} cannot be opened ({error.strerror})") from error


def _read_row(
    cells: list[str],
    line: int,
    names: tuple[str, ...],
    skip: int,
    numbers: packed[float],
    classes: list[str],
    source: str,
) -> None:
    """Append the numbers of one row, and its class if there is a label column. A bad cell raises InputError."""
    if len(cells) != len(names):
        problem = f"{len(cells)} cells; expected {len(names)}, as in the first line"
        raise InputError(f"{source}, line {line}: {problem}{_unclosed(cells)}")
    for i, cell in enumerate(cells):
        if i == skip:
            if not cell.strip():
                raise InputError(
                    f"{source}, line {line}, column '{names[i]}': the label is missing; fill it in or remove the row"
                )
            classes.append(cell.strip())
            continue
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            content = f"'{cell.strip().partition(NEW_LINE)[0]}'" if cell.strip() else "an empty cell"
            raise InputError(
                f"{source}, line {line}, column '{names[i]}': {content}; expected a finite number"
                f"{_unclosed([cell])}. "
                "Correct the cell or remove the row; declare a column of classes with --option data.label=NAME."
            )
        numbers.append(number)


def _unclosed(cells: list[str]) -> str:
    """Return a hint about a missing quotation mark if a cell has several lines, or else an empty string."""
    return " (a quotation mark may be missing)" if any(NEW_LINE in cell for cell in cells) else ""


def _label_column(label: str | None, names: tuple[str, ...], source: str) -> int:
    """Return the position of the label column, or -1 if there is none."""
    if label is None:
        return -1
    if names.count(label) != 1:
        problem = "no column" if label not in names else f"{names.count(label)} columns"
        raise InputError(f"{source}: {problem} named '{label}'; the columns are {', '.join(names)}")
    return names.index(label)


def _number_classes(
    classes: list[str], lines: packed[int], label: str, source: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the sorted distinct classes (numbers by value, text by alphabet) and the labels (N,) int64."""
    numeric = all(_is_number(name) for name in set(classes))
    if numeric:
        for name, line in zip(classes, lines, strict=True):
            if not float(name).is_integer():
                problem = f"label {name}; expected whole numbers or text"
                raise InputError(f"{source}, line {line}, column '{label}': {problem}")
        classes = [str(int(float(name))) for name in classes]  # "1" and "1.0" are one class
    values = sorted(set(classes), key=int) if numeric else sorted(set(classes))
    number = {name: i for i, name in enumerate(values)}
    return tuple(values), np.array([number[name] for name in classes], dtype=np.int64)


def _is_number(cell: str) -> bool:
    """Return whether a cell can be read as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
