"""Tables as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from sdekit.data.columns import Column

from .one_hot import columns_of


def table_as_csv(
    codes: np.ndarray, columns: Sequence[Column], further: Mapping[str, Sequence[object]] | None = None
) -> bytes:
    """Return the CSV file of samples, with the header of the data.

    Integers are written as whole numbers, categories by their names, and numbers with the decimals of their column, or
    with the shortest digits that identify a float32.

    Arguments:
        codes: Samples (N, d) in the units of the data.
        columns: Columns of the table.
        further: Values of further columns by name, such as the classes of the samples. They follow the columns.
    Returns:
        Contents of the file in UTF-8.
    """
    table, texts = columns_of(codes, columns), []
    for column in columns:
        texts.append([_text(value, column) for value in table[column.name]])
    for values in (further or {}).values():
        texts.append([str(value) for value in values])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(column.name for column in columns), *(further or {})])
    writer.writerows(zip(*texts, strict=True))
    return out.getvalue().encode()


def _text(value: object, column: Column) -> str:
    """Return the text of a cell."""
    if column.type != "number":
        return str(value)
    if column.decimals is not None:
        return f"{float(value):.{column.decimals}f}"  # type: ignore[arg-type]
    return str(np.float32(value))  # type: ignore[arg-type]  # the shortest digits
