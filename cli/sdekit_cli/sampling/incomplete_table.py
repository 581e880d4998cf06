"""Tables with missing cells: read a CSV file, and write it with the drawn values."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sdekit.errors import InputError

from .known_values import check_table, encode_cell, find_column

if TYPE_CHECKING:
    from sdekit.data import Column
    from sdekit.data.formats import TableLayout
    from sdekit.models import OpenedModel

IMPUTATION = "imputation"
"""Name of the column with the number of the imputation, if there are several."""


@dataclass(frozen=True)
class IncompleteTable:
    """Rows of a file, of which some cells are missing.

    Arguments:
        layout: Layout of the file.
        header: Records before the data.
        cells: Texts of each row, in the order of the file.
        positions: Position in the file of each column of the model.
        codes: Coordinates (N, d) in the units of the data, NaN at missing cells.
        missing: Which cells of the model's columns are missing, (N, columns).
        condition: Texts of each row in the columns of the condition.
        places: Name of the file and line of each row, for messages.
        others: Names of the columns that the model does not have.
    """

    layout: TableLayout
    header: list[list[str]]
    cells: list[list[str]]
    positions: tuple[int, ...]
    codes: np.ndarray
    missing: np.ndarray
    condition: list[tuple[str, ...]]
    places: list[str]
    others: tuple[str, ...]

    @property
    def incomplete(self) -> np.ndarray:
        """Numbers of the rows with a missing cell, (M,)."""
        return np.flatnonzero(self.missing.any(1))


def read_incomplete(path: Path, opened: OpenedModel, *, condition: Sequence[str]) -> IncompleteTable:
    """Read a table with missing cells.

    A cell is missing if it is empty, or contains NA, NaN, ? or another usual marker, or a marker of the training data
    (`data.missing`). A value of a category of the model is never a marker.

    Arguments:
        path: The file.
        opened: Model of a table.
        condition: Names of the columns of the condition that the file must have.
    Returns:
        The rows.
    Raises:
        InputError: If the file lacks a column of the model, a cell has no possible value, a cell of the condition is
            missing, no cell is missing, or all cells are.
    """
    from sdekit.data import column_slices
    from sdekit.data.formats import header_rows, table_rows
    from sdekit.data.tables import is_parquet

    check_table(opened, f"--impute {path}")
    if is_parquet(str(path)):
        raise InputError(f"--impute {path} is a Parquet file: convert it to CSV")
    source, columns = os.path.basename(path), opened.columns
    required = (*(column.name for column in columns), *condition)
    layout, found = _layout(path, required, source)
    positions, given = found[: len(columns)], found[len(columns) :]
    is_missing = _MissingCells(opened)
    cells, places, conditions, codes, missing = [], [], [], [], []
    for line, row in table_rows(layout, source, empty=len(layout.names) > 1):
        place = f"{source}, line {line}"
        code = np.full(sum(column.width for column in columns), np.nan)
        missing.append([is_missing(row[i], column) for column, i in zip(columns, positions, strict=True)])
        for (column, part), i, is_absent in zip(column_slices(columns), positions, missing[-1], strict=True):
            if not is_absent:
                subject = f"{place}, column '{column.name}'"
                code[part] = encode_cell(row[i], column, subject, decimal=layout.decimal)
        for name, i in zip(condition, given, strict=True):
            if is_missing(row[i]) and any(missing[-1]):
                raise InputError(
                    f"{place}, column '{name}': the value is missing, and the model is conditioned on it, so that it "
                    "cannot be drawn: fill it in, leave out the row, or train without this condition, so that the "
                    "column is one of the others"
                )
        codes.append(code)
        cells.append(row)
        places.append(place)
        conditions.append(tuple(row[i] for i in given))
    if not cells:
        raise InputError(f"{source} has no rows")
    absent = np.array(missing, dtype=bool)
    if not absent.any():
        raise InputError(f"{source}: no cell is missing in the columns of the run, so that there is nothing to impute")
    if absent.all():
        raise InputError(f"{source}: all cells of the columns of the run are missing: draw rows by sdekit sample")
    others = tuple(name for i, name in enumerate(layout.names) if i not in found)
    return IncompleteTable(
        layout=layout,
        header=header_rows(layout, source),
        cells=cells,
        positions=positions,
        codes=np.array(codes),
        missing=absent,
        condition=conditions,
        places=places,
        others=others,
    )


def _layout(path: Path, required: Sequence[str], source: str) -> tuple[TableLayout, tuple[int, ...]]:
    """Return the layout of a file, and the positions of the required columns."""
    from sdekit.data.formats import read_layout

    layout = read_layout(str(path), "auto", "auto", None, source)
    try:
        return layout, _positions(layout, required, source)
    except InputError as error:
        if layout.leading:
            raise
        layout = read_layout(str(path), "auto", "auto", True, source)  # a table of texts has a header that looks alike
        try:
            return layout, _positions(layout, required, source)
        except InputError:
            raise error from None


def _positions(layout: TableLayout, required: Sequence[str], source: str) -> tuple[int, ...]:
    """Return the positions of the columns that a file must have."""
    positions = []
    for name in required:
        try:
            found = find_column(name, layout.names, source)
        except InputError as error:
            advice = "" if "have this name" in str(error) else ". Add the column of the run; its cells may be empty"
            raise InputError(f"{error}{advice}") from None
        if layout.names.count(found) > 1 or layout.names.index(found) in positions:
            raise InputError(f"{source}: several columns are named '{found}': rename them")
        positions.append(layout.names.index(found))
    return tuple(positions)


class _MissingCells:
    """Test for missing cells.

    Arguments:
        opened: Model of a table, whose recipe may name further markers of missing values.
    """

    def __init__(self, opened: OpenedModel) -> None:
        recipe = getattr(opened, "recipe", None)
        markers = None if recipe is None else recipe.data.options.get("missing")
        self._markers = {marker.strip().lower() for marker in str(markers or "").split(",")}

    def __call__(self, cell: str, column: Column | None = None) -> bool:
        """Return whether a cell is missing; a value of a category is not."""
        from sdekit.data.formats import is_missing

        if column is not None and cell in column.values:
            return False
        return is_missing(cell) or cell.lower() in self._markers


def write_complete(
    table: IncompleteTable, drawn: Sequence[np.ndarray], columns: Sequence[Column], *, numbered: bool
) -> bytes:
    """Return the file with the drawn values in its missing cells. All other cells have their own texts.

    Arguments:
        table: The incomplete table.
        drawn: Complete rows (M, d) of the incomplete rows, in the units of the data, for each imputation.
        columns: Columns of the model.
        numbered: Whether a last column contains the number of the imputation, from 1.
    Returns:
        Contents of the file: one complete table after the other.
    """
    from sdekit.data.tables import column_texts

    layout, out = table.layout, io.StringIO()
    writer = csv.writer(out, delimiter=layout.separator, lineterminator="\n")
    name = IMPUTATION
    while name in layout.names:
        name = f"{name}_"
    for k, record in enumerate(table.header):
        writer.writerow([*record, *([name if k == 0 else ""] if numbered else [])])
    row_of = {int(row): k for k, row in enumerate(table.incomplete)}
    for number, codes in enumerate(drawn, 1):
        texts = column_texts(codes, columns)
        for row, cells in enumerate(table.cells):
            complete = list(cells)
            for column, position, is_missing in zip(columns, table.positions, table.missing[row], strict=True):
                if is_missing:
                    text = texts[column.name][row_of[row]]
                    complete[position] = text if column.type == "category" else text.replace(".", layout.decimal)
            writer.writerow([*complete, *([str(number)] if numbered else [])])
    return out.getvalue().encode()
