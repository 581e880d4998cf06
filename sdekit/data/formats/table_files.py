"""Data sets of vectors in a table: a text table, such as a CSV file, or a Parquet file."""

from __future__ import annotations

import os
from array import array as packed
from collections.abc import Sequence
from typing import Literal

import numpy as np

from sdekit.data.classes import number_names, whole_number
from sdekit.data.columns import Column, unit_in_name
from sdekit.data.labels import check_conditions
from sdekit.data.tables import (
    MOST_DECIMALS,
    TableDataset,
    TableScale,
    category_values,
    dataset_of_codes,
    encode_columns,
    is_parquet,
    table_from_parquet,
)
from sdekit.errors import InputError
from sdekit.registry import unknown_name

from .table_cells import SELECT, RowReader, text_columns
from .table_dialect import is_number
from .table_layout import TableLayout, read_layout, table_rows


def table(
    path: str,
    *,
    label: str | None = None,
    condition: str | None = None,
    columns: str | None = None,
    categories: str | None = None,
    header: bool | None = None,
    separator: str = "auto",
    decimal: Literal["auto", ".", ","] = "auto",
    missing: str | None = None,
    scale: TableScale = "quantiles",
) -> TableDataset:
    """Rows of a text table (CSV) with columns of numbers, integers and categories.

    Separator, decimal mark and header are inferred from the first 200 lines, and the attribute `notes` of the data set
    states them. A column is a category if none of its cells in these lines is a number. A column of whole numbers
    without a decimal mark is an integer. Samples are written in the same types.

    Comment lines (# or %) and blank lines are left out. The comment above the first row contains the names of the
    columns if it has as many cells, as in files of `numpy.savetxt`. A first column of whole numbers without a name,
    such as the index that pandas writes, is left out. Columns without a name in the file are column1, column2, ...

    Arguments:
        path: Text file in UTF-8, or in UTF-16 with a byte-order mark; or a Parquet file, which has types of its own and
            takes no header, separator or decimal.
        label: Name of the column of classes, which are whole numbers or text. Its sorted distinct values become the
            labels 0, 1, ...
        condition: Names, separated by commas, of the columns of numbers on which a row is conditioned instead of a
            label.
        columns: Names, separated by commas, of the columns to train on. The default is all columns except labels and
            conditions.
        categories: Names, separated by commas, of columns that are categories even if they contain numbers.
        header: Whether the first row contains the names of the columns. By default this is inferred.
        separator: Separator of cells: a comma, semicolon, tab, vertical bar (|), or space for any white space. "auto"
            infers it.
        decimal: Decimal mark, a point or a comma. "auto" infers it.
        missing: Contents, separated by commas, of cells that mark missing values, such as NA,-999. Empty cells are
            missing values too. Rows with a missing value are left out. By default a missing value is an error.
        scale: Map of numbers and integers to the units of the model. "quantiles" maps each column to a standard normal
            number by its distribution, or like "columns" if there are fewer than 100 rows. "columns" maps each column
            to mean 0 and standard deviation 1, "global" maps the range of all numbers to [-1, 1], "none" changes
            nothing, and "auto" is "global" if the columns seem to measure the same quantity, else "columns". Each value
            of a category is a coordinate of the model's vector, -1 or 1.
    Returns:
        Data set of vectors.
    Raises:
        InputError: If a cell is not a finite number (the message gives its line and column), if a row has another
            length than the first row, if a name is not a column, if a text column has too many values, or if the
            decimal mark is ambiguous.
    """
    source = os.path.basename(path)
    if label is not None and condition is not None:
        raise InputError(f"{source}: a row has either a label or conditions: give only one of label and condition")
    if is_parquet(path):
        if header is not None or separator != "auto" or decimal != "auto":
            raise InputError(f"{source} is a Parquet file: leave out the options header, separator and decimal")
        return table_from_parquet(
            path,
            label=label,
            condition=condition,
            columns=columns,
            categories=categories or (),
            drop_missing=missing is not None,
            scale=scale,
        )
    layout = read_layout(path, separator, decimal, header, source)
    label_column = _label_column(label, layout.names, source)
    given = () if condition is None else _split_names(condition, layout.names, "condition", source)
    features = _features(columns, layout.names, label_column, given, source)
    texts = () if categories is None else _split_names(categories, layout.names, "categories", source)
    texts = tuple(i for i in features if i in texts or i in text_columns(layout, (i,), source))
    numbers = tuple(i for i in features if i not in texts)
    reader = RowReader(layout, (*numbers, *given), texts, label_column, missing, source)
    for line, cells in table_rows(layout, source):
        reader.add(line, cells)

    values, names, notes = reader.numbers(), layout.names, [*layout.notes, *reader.notes()]
    index = features[0] == 0 and layout.unnamed and columns is None and len(features) > 1 and 0 in numbers
    if index and not (values[:, 0] % 1).any():
        notes.append(f"the first column is left out, because it has no name and contains whole numbers ({SELECT})")
        features = features[1:]
    cells_of: dict[str, np.ndarray] = {names[i]: text for i, text in reader.texts().items()}
    cells_of |= {names[i]: values[:, k] for k, i in enumerate(numbers)}
    written = dict(zip(numbers, reader.decimals, strict=False))
    types = tuple(_column(i, layout, cells_of, written, source) for i in features)
    if len({column.name for column in types}) < len(types):
        raise InputError(f"{source}: several columns have the same name; rename them, or {SELECT.removeprefix('--')}")
    chosen = np.array([k for k, i in enumerate(numbers) if i in features], dtype=int)
    notes += _suspicious_columns(values[:, chosen], [names[i] for i in numbers if i in features])
    conditions, labels = None, None
    classes: tuple[str, ...] = ()
    if condition is not None:
        given_names = tuple(names[i] for i in given)
        conditions = check_conditions(values[:, len(numbers) :], len(values), given_names, source)
    elif label is not None:
        labels, classes = number_names(_check_classes(reader.classes, reader.lines, label, source))
    data = dataset_of_codes(
        encode_columns(cells_of, types),
        types,
        source=source,
        scale=scale,
        labels=labels,
        class_names=classes,
        conditions=conditions,
    )
    data.notes = (*data.notes, *notes)
    return data


def _column(i: int, layout: TableLayout, cells: dict[str, np.ndarray], decimals: dict[int, int], source: str) -> Column:
    """Return the type of column number i of a text table."""
    name = layout.names[i]
    if i not in decimals:
        return Column(name=name, type="category", values=category_values(name, cells[name], source))
    unit = layout.units[i] if layout.units else unit_in_name(name)
    if decimals[i] == 0:
        return Column(name=name, type="integer", unit=unit)
    return Column(name=name, decimals=decimals[i] if decimals[i] <= MOST_DECIMALS else None, unit=unit)


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


def _suspicious_columns(items: np.ndarray, names: Sequence[str]) -> list[str]:
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
