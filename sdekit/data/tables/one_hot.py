"""One-hot encoding of the categories of a table, and its inverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sdekit.data.columns import Column, column_slices
from sdekit.errors import InputError


def encode_columns(table: Mapping[str, np.ndarray], columns: Sequence[Column]) -> np.ndarray:
    """Encode a table as vectors of numbers.

    Arguments:
        table: Values of each column by its name, (N,): numbers, or the texts of a category.
        columns: Columns in the order of the coordinates.
    Returns:
        Codes (N, d) float64, where d is the sum of the widths of the columns. The row of a category contains 1 at its
        value, and 0 otherwise. A missing number is NaN; a missing category (None or "") is NaN in all its coordinates.
    Raises:
        InputError: If a category has a value that the column does not have.
    """
    n = len(next(iter(table.values())))
    codes = np.zeros((n, sum(column.width for column in columns)))
    for column, place in column_slices(columns):
        values = table[column.name]
        if column.type != "category":
            codes[:, place.start] = values
            continue
        position = {value: i for i, value in enumerate(column.values)}
        for row, value in enumerate(values):
            if value is None or value == "":
                codes[row, place] = np.nan
            elif str(value) in position:
                codes[row, place.start + position[str(value)]] = 1
            else:
                from sdekit.registry import unknown_name

                raise InputError(unknown_name(f"value of column '{column.name}'", str(value), column.values, "Values"))
    return codes


def snap_to_columns(codes: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """Round samples to possible rows of a table.

    Arguments:
        codes: Samples (N, d) in the units of the data.
        columns: Columns of the table.
    Returns:
        Codes (N, d) of the same dtype: integers are whole numbers, numbers have the decimals of their column, and a
        category is 1 at its largest coordinate and 0 otherwise.
    """
    result = codes.copy()
    for column, place in column_slices(columns):
        if column.type == "category":
            result[:, place] = np.eye(column.width)[codes[:, place].argmax(1)]
        elif column.type == "integer":
            result[:, place] = np.rint(codes[:, place])
        elif column.decimals is not None:
            result[:, place] = np.round(codes[:, place].astype(np.float64), column.decimals)
    return result


def columns_of(codes: np.ndarray, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Convert codes to the columns of a table, the inverse of `encode_columns`.

    Arguments:
        codes: Codes (N, d), which need not be rounded.
        columns: Columns of the table.
    Returns:
        Values of each column by its name, (N,): float64, int64, or texts of dtype object.
    """
    rounded, table = snap_to_columns(codes.astype(np.float64), columns), {}
    for column, place in column_slices(columns):
        if column.type == "category":
            table[column.name] = np.array(column.values, dtype=object)[rounded[:, place].argmax(1)]
        else:
            numbers = rounded[:, place.start]
            table[column.name] = numbers.astype(np.int64) if column.type == "integer" else numbers
    return table
