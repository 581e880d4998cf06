"""Tables of numbers in a text file, with comma, semicolon or tab between the cells."""

from __future__ import annotations

import csv
import math
import os
from array import array as packed
from collections.abc import Iterator

import numpy as np

from sdekit.data import InMemoryDataset, ScaleChoice, check_numbers, vector_units
from sdekit.errors import InputError
from sdekit.registry import unknown_name

NEW_LINE = "\n"


def table(
    path: str, *, label: str | None = None, condition: str | None = None, scale: ScaleChoice = "columns"
) -> InMemoryDataset:
    """Rows of a CSV file as vectors (d,), one number for each column but the label's.

    The first line is a header if none of its cells is a number; without one the columns are column1, column2, …
    label: the column of classes, whole numbers or text; its distinct values, in order, become the labels 0, 1, ….
    scale: as in `array`; "columns" gives every column mean 0 and standard deviation 1.
    condition: columns of numbers that a row is conditioned on, comma-separated; they are no part of it any longer.
    Raises InputError that names line and column for a cell that is not a finite number, the line for a row of another
    length, and the columns there are for a label that is not among them.
    """
    where = os.path.basename(path)
    rows = _rows(path)
    if label is not None and condition is not None:
        raise InputError(f"{where}: rows are conditioned on a label or on numbers: choose one of label and condition")
    line, first = next(rows, (0, []))
    if not first:
        raise InputError(f"table:{path} is empty; expected rows of numbers")
    header = not any(_is_number(cell) for cell in first)
    names = tuple(cell.strip() for cell in first) if header else tuple(f"column{i + 1}" for i in range(len(first)))
    skip = _label_column(label, names, where)
    columns = tuple(name for i, name in enumerate(names) if i != skip)
    if not columns:
        raise InputError(f"{where}: no column is left beside the label '{label}'; expected at least one of numbers")

    numbers = packed("d")
    classes: list[str] = []
    lines = packed("q")
    if not header:
        _read_row(first, line, names, skip, numbers, classes, where)
        lines.append(line)
    for line, cells in rows:
        _read_row(cells, line, names, skip, numbers, classes, where)
        lines.append(line)
    if len(lines) < 2:
        raise InputError(f"{where}: {len(lines)} rows of numbers; expected at least 2")

    items = np.frombuffer(numbers, dtype=np.float64).reshape(-1, len(columns))
    if condition is not None:
        return _conditioned(items, columns, condition, scale, where)
    units = vector_units(items, scale, where)
    if label is None:
        return InMemoryDataset(items, units=units, columns=columns)
    values, labels = _number_classes(classes, lines, label, where)
    return InMemoryDataset(items, units=units, labels=labels, classes=len(values), class_names=values, columns=columns)


def _conditioned(
    items: np.ndarray, columns: tuple[str, ...], condition: str, scale: ScaleChoice, where: str
) -> InMemoryDataset:
    """The columns named in `condition` taken out of the rows, to condition on."""
    names = tuple(name.strip() for name in condition.split(","))
    for name in names:
        if columns.count(name) != 1:
            raise InputError(unknown_name(f"column of {where} (that is there once)", name, list(columns), "Columns"))
    kept = tuple(name for name in columns if name not in names)
    if not kept or len(set(names)) < len(names):
        problem = "no column is left beside" if not kept else "a column is named twice in"
        raise InputError(f"{where}: {problem} the condition '{condition}'")
    numbers = items[:, [columns.index(name) for name in names]]
    rest = np.ascontiguousarray(items[:, [columns.index(name) for name in kept]])
    told = check_numbers(numbers, len(items), names, where)
    return InMemoryDataset(rest, units=vector_units(rest, scale, where), columns=kept, conditions=told)


def _rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Line number (from 1) where it begins, and cells, of every record that is not blank."""
    line = 1
    if not os.path.isfile(path):
        raise InputError(f"table:{path}: no such file; expected a .csv file")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets write a byte-order mark
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
            f"table:{path}, line {line}: no record of a CSV file ({error}); is a quote left open there?"
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
    where: str,
) -> None:
    """Append the numbers of one row, and its class if there is a label column. Raises InputError for a bad cell."""
    if len(cells) != len(names):
        problem = f"{len(cells)} cells; expected {len(names)}, as in the first line"
        raise InputError(f"{where}, line {line}: {problem}{_unclosed(cells)}")
    for i, cell in enumerate(cells):
        if i == skip:
            if not cell.strip():
                raise InputError(f"{where}, line {line}, column '{names[i]}': no label; fill it in or remove the row")
            classes.append(cell.strip())
            continue
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            found = f"'{cell.strip().partition(NEW_LINE)[0]}'" if cell.strip() else "an empty cell"
            raise InputError(
                f"{where}, line {line}, column '{names[i]}': {found}; expected a finite number"
                f"{_unclosed([cell])}. "
                "Fix the cell or remove the row; name a column of classes with --option data.label=NAME."
            )
        numbers.append(number)


def _unclosed(cells: list[str]) -> str:
    """What is probably wrong with a record of several lines."""
    return " (is a quote left open there?)" if any(NEW_LINE in cell for cell in cells) else ""


def _label_column(label: str | None, names: tuple[str, ...], where: str) -> int:
    """Position of the label's column, or -1 where none is asked for."""
    if label is None:
        return -1
    if names.count(label) != 1:
        problem = "no column" if label not in names else f"{names.count(label)} columns"
        raise InputError(f"{where}: {problem} named '{label}'; the columns are {', '.join(names)}")
    return names.index(label)


def _number_classes(
    classes: list[str], lines: packed[int], label: str, where: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Distinct classes in order (numbers by value, text by alphabet) and labels (N,) int64."""
    numeric = all(_is_number(name) for name in set(classes))
    if numeric:
        for name, line in zip(classes, lines, strict=True):
            if not float(name).is_integer():
                problem = f"label {name}; expected whole numbers or text"
                raise InputError(f"{where}, line {line}, column '{label}': {problem}")
        classes = [str(int(float(name))) for name in classes]  # "1" and "1.0" are one class
    values = sorted(set(classes), key=int) if numeric else sorted(set(classes))
    number = {name: i for i, name in enumerate(values)}
    return tuple(values), np.array([number[name] for name in classes], dtype=np.int64)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
