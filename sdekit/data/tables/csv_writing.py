"""Tables as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from sdekit.data.columns import Column

from .one_hot import columns_of


def table_as_csv(
    codes: np.ndarray,
    columns: Sequence[Column],
    further: Mapping[str, Sequence[object]] | None = None,
    known: Mapping[str, str] | None = None,
) -> bytes:
    """Return the CSV file of samples, with the header of the data.

    Integers are written as whole numbers, categories by their names, and numbers with the decimals of their column, or
    with the shortest digits that identify a float32.

    Arguments:
        codes: Samples (N, d) in the units of the data.
        columns: Columns of the table.
        further: Values of further columns by name, such as the classes of the samples. They follow the columns.
        known: Texts of columns that are the same in all rows, by name, or None.
    Returns:
        Contents of the file in UTF-8.
    """
    cells = column_texts(codes, columns) | {name: [text] * len(codes) for name, text in (known or {}).items()}
    texts = [*cells.values()]
    for values in (further or {}).values():
        texts.append([str(value) for value in values])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(column.name for column in columns), *(further or {})])
    writer.writerows(zip(*texts, strict=True))
    return out.getvalue().encode()


def column_texts(codes: np.ndarray, columns: Sequence[Column]) -> dict[str, list[str]]:
    """Return samples of a table as the texts of its cells, see `table_as_csv`.

    Arguments:
        codes: Samples (N, d) in the units of the data.
        columns: Columns of the table.
    Returns:
        Texts of each column by its name, N of them.
    """
    table = columns_of(codes, columns)
    return {column.name: [_text(value, column) for value in table[column.name]] for column in columns}


def _text(value: object, column: Column) -> str:
    """Return the text of a cell."""
    if column.type != "number":
        return str(value)
    if column.decimals is not None:
        return f"{float(value):.{column.decimals}f}"  # type: ignore[arg-type]
    return str(np.float32(value))  # type: ignore[arg-type]  # the shortest digits
