"""Columns of a table: names, types, units and decimals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

ColumnType = Literal["number", "integer", "category"]

UNIT_IN_NAME = re.compile(r".*\S\s*[(\[](?P<unit>[^()\[\]]{1,24})[)\]]\s*")
"""Name of a column with a unit in parentheses or brackets at its end, such as "mass (kg)"."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    A number or an integer is one coordinate of the model's vector. A category is one coordinate for each of its values,
    which is 1 for the value of the row and 0 for the others (one-hot encoding).

    Arguments:
        name: Name of the column.
        type: "number", "integer" or "category".
        values: Values of a category, in the order of its coordinates; empty for numbers and integers.
        decimals: Number of decimals with which numbers are written; None for full precision.
        unit: Unit of measurement, or empty.
    """

    name: str
    type: ColumnType = "number"
    values: tuple[str, ...] = ()
    decimals: int | None = None
    unit: str = ""

    @property
    def width(self) -> int:
        """Number of coordinates of the column in the model's vector."""
        return len(self.values) if self.type == "category" else 1

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Column:
        """Build a column from the result of `as_dict`, which may have been written as JSON and read again."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


def column_slices(columns: Sequence[Column]) -> Iterator[tuple[Column, slice]]:
    """Yield each column with the slice of its coordinates.

    Arguments:
        columns: Columns of a table.
    Yields:
        Column, and its slice of the vector.
    """
    start = 0
    for column in columns:
        yield column, slice(start, start + column.width)
        start += column.width


def coordinate_names(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return a name for each coordinate of the vector: the name of the column, or "column=value" for a category.

    Arguments:
        columns: Columns of a table.
    Returns:
        One name for each coordinate.
    """
    names: list[str] = []
    for column in columns:
        category = column.type == "category"
        names += [f"{column.name}={value}" for value in column.values] if category else [column.name]
    return tuple(names)


def unit_in_name(name: str) -> str:
    """Return the unit at the end of a name, such as "kg" for "mass (kg)" or "mass [kg]"; empty if there is none.

    Arguments:
        name: Name of a column.
    Returns:
        The unit.
    """
    match = UNIT_IN_NAME.fullmatch(name)
    return match["unit"].strip() if match else ""
