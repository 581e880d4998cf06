"""Data sets from data frames of pandas, polars and pyarrow, and samples as a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from sdekit.data.columns import Column
from sdekit.errors import InputError

from .one_hot import columns_of
from .quantile_units import TableDataset
from .table_datasets import table_from_columns

EXTRA = "pip install 'sdekit[tables]'"


def is_frame(value: object) -> bool:
    """Return whether an object is a data frame, without importing the libraries of data frames.

    Arguments:
        value: Any object.
    Returns:
        Whether it is a DataFrame of pandas or polars, or a Table of pyarrow.
    """
    name = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"
    return name in ("pandas.DataFrame", "polars.DataFrame", "pyarrow.Table")


def table_from_frame(frame: Any, *, source: str = "the data frame", **options: Any) -> TableDataset:
    """Create a data set from a data frame.

    Integer dtypes are integers, float and decimal dtypes are numbers, and texts, booleans and categorical dtypes are
    categories. Nullable dtypes are supported. The index of a frame of pandas is left out.

    Arguments:
        frame: Frame of pandas or polars, or table of pyarrow.
        source: Name of the frame in messages.
        options: Options of `table_from_columns`: label, condition, columns, categories, drop_missing and scale.
    Returns:
        Data set of vectors.
    Raises:
        InputError: If the object is not a frame, a column has another dtype, such as dates, or the library narwhals is
            not installed.
    """
    return table_from_columns(frame_columns(frame, source, options.get("columns")), source=source, **options)


def frame_columns(frame: Any, source: str, chosen: str | Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the columns of a data frame as arrays.

    Arguments:
        frame: Frame of pandas or polars, or table of pyarrow.
        source: Name of the frame in messages.
        chosen: Columns whose dtypes must be supported; None for all.
    Returns:
        Values (N,) of each column by name: numbers, booleans, or objects with None for missing values.
    Raises:
        InputError: If the object is not a frame, a name occurs twice, a dtype is not supported, or the library narwhals
            is not installed.
    """
    try:
        import narwhals as nw
    except ImportError as error:
        raise InputError(f"data frames need the library narwhals: {EXTRA}") from error
    if not is_frame(frame):
        remedy = {
            "LazyFrame": "call .collect() first",
            "Series": "call .to_frame() first",
            "DataFrameGroupBy": "aggregate the groups first",
        }.get(type(frame).__name__, "expected a DataFrame of pandas or polars")
        raise InputError(f"{source} is a {type(frame).__name__}: {remedy}")
    labels = frame.column_names if hasattr(frame, "column_names") else list(frame.columns)
    names = [str(label) for label in labels]
    if any(isinstance(label, tuple) for label in labels):
        raise InputError(
            f"{source} has column names of several levels: join them, such as "
            'frame.columns = ["_".join(map(str, name)) for name in frame.columns]'
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{source} has several columns named '{twice[0]}': rename them")
    columns = nw.from_native(frame, eager_only=True)
    used = set(names) if chosen is None or isinstance(chosen, str) else {str(name) for name in chosen}
    table = {}
    for name, series in zip(names, columns.iter_columns(), strict=True):
        values = series.to_list()
        null = series.is_null().to_list()
        present = [None if missing or value != value else value for value, missing in zip(values, null, strict=True)]
        try:
            table[name] = _as_array(present, series.dtype, nw)
        except TypeError as error:
            if name in used:
                raise InputError(f"{source}, column '{name}': {error}") from None
    return table


def _as_array(values: list[Any], dtype: Any, nw: Any) -> np.ndarray:
    """Return a column as an array. Raises TypeError with a remedy if its dtype is not supported."""
    if dtype in (nw.Date, nw.Datetime, nw.Time, nw.Duration):
        raise TypeError(
            f"type {dtype}; convert it to numbers, such as days since a date, or leave the column out (drop it, or "
            "name the others in columns=)"
        )
    complete = None not in values
    if dtype.is_integer() and complete:
        return np.array(values, dtype=np.int64)
    if dtype.is_float() or (dtype.is_numeric() and not dtype.is_integer()):
        return np.array([np.nan if value is None else float(value) for value in values])
    if dtype.is_numeric():  # integers with missing values
        return _objects(values)
    if dtype == nw.Boolean and complete:
        return np.array(values, dtype=bool)
    if dtype in (nw.Boolean, nw.String, nw.Categorical, nw.Enum):
        return _objects([None if value is None else str(value) for value in values])
    if dtype == nw.Object and all(isinstance(v, str | int | float | Decimal | np.generic | None) for v in values):
        if not any(isinstance(value, str | bool | np.bool_) for value in values):
            return _objects([float(value) if isinstance(value, Decimal) else value for value in values])
        return _objects([None if value is None else str(value) for value in values])
    raise TypeError(
        f"type {dtype}; expected numbers, texts, booleans or categories: convert the column or leave it out"
    )


def _objects(values: list[Any]) -> np.ndarray:
    """Return an array of objects (N,)."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def frame_of(codes: np.ndarray, columns: Sequence[Column]) -> Any:
    """Return samples of a table as a data frame of pandas.

    Arguments:
        codes: Samples (N, d) in the units of the data.
        columns: Columns of the table.
    Returns:
        `pandas.DataFrame` with the dtypes that pandas infers for samples.csv: int64, float64, bool and texts.
    Raises:
        InputError: If pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise InputError("a data frame needs pandas: pip install pandas") from error
    table = columns_of(codes, columns)
    for column in columns:
        if column.type == "category" and set(column.values) <= {"True", "False"}:
            table[column.name] = table[column.name] == "True"
    return pandas.DataFrame(table)
