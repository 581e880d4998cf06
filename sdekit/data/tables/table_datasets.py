"""Data sets of tables with columns of numbers, integers and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sdekit.data.classes import number_names, sort_names
from sdekit.data.columns import Column, column_slices, unit_in_name
from sdekit.data.dataset import Units
from sdekit.data.labels import Conditions, check_conditions, check_labels
from sdekit.data.standardization import ScaleChoice, vector_units
from sdekit.errors import InputError

from .one_hot import encode_columns
from .quantile_units import TableDataset, TableScale, quantile_units

FEWEST_ROWS = 100
"""Smallest number of rows whose quantiles are used as units."""

MOST_DECIMALS = 6
"""Numbers with more decimals are written with full precision."""

MOST_VALUES = 1000
"""Largest number of values of a category."""

FEW_VALUES = 20
"""A category with at most this many values is never taken for a column that identifies the rows."""

ONE_HOT_SHIFT, ONE_HOT_SCALE = 0.5, 0.5
"""Units of the coordinates of categories, which are -1 and 1 in the model."""


def table_from_columns(
    table: Mapping[str, np.ndarray],
    *,
    source: str = "table",
    label: str | None = None,
    condition: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    categories: str | Sequence[str] = (),
    drop_missing: bool = False,
    scale: TableScale = "quantiles",
) -> TableDataset:
    """Create a data set from the columns of a table in memory.

    Integer dtypes are integers, float dtypes are numbers, and bool, text and objects are categories.

    Arguments:
        table: Values of each column by its name, (N,) each.
        source: Name of the table in messages.
        label: Name of the column of classes.
        condition: Names of the columns of numbers on which a row is conditioned instead of a label: a sequence, or one
            text with commas.
        columns: Names of the columns to train on. The default is all columns except labels and conditions.
        categories: Names of columns of whole numbers that are categories.
        drop_missing: Whether rows with a missing value (NaN, None or an empty text) are left out. By default a missing
            value is an error.
        scale: Map of numbers and integers to the units of the model: "quantiles", or see `sdekit.data.vector_units`.
    Returns:
        Data set of vectors.
    Raises:
        InputError: If a name is not a column, a value is missing, or the type of a column is not supported.
    """
    arrays = {str(name): _plain(np.asarray(values), str(name), source) for name, values in table.items()}
    lengths = {len(values) for values in arrays.values()}
    if len(lengths) != 1 or lengths < {2}:
        raise InputError(f"{source}: columns of lengths {sorted(lengths)}; expected equal lengths of at least 2")
    given, as_categories = _names(condition, arrays, source), _names(categories, arrays, source)
    _names(label, arrays, source)
    if label is not None and given:
        raise InputError(f"{source}: a row has either a label or conditions: give only one of label and condition")
    others = (*given, *(() if label is None else (label,)))
    chosen = _names(columns, arrays, source) or tuple(name for name in arrays if name not in others)
    if not chosen or set(chosen) & set(others):
        raise InputError(f"{source}: no column to train on, or a column that is also a label or a condition")
    used = (*chosen, *others)
    missing = np.any([_missing(arrays[name]) for name in used], axis=0)
    if missing.any() and not drop_missing:
        row = int(missing.argmax())
        name = next(name for name in used if _missing(arrays[name])[row])
        raise InputError(
            f"{source}, row {row}, column '{name}': the value is missing; fill it in, or leave out such rows with "
            "drop_missing=True"
        )
    arrays = {name: _plain(arrays[name][~missing], name, source) for name in used}  # objects may now be whole numbers
    if len(arrays[used[0]]) < 2:
        raise InputError(f"{source}: fewer than 2 rows without missing values")
    types = [column_of(name, arrays[name], source, category=name in as_categories) for name in chosen]
    texts = {c.name: arrays[c.name].astype(str) if c.type == "category" else arrays[c.name] for c in types}
    labels, class_names = (None, ()) if label is None else _classes(arrays[label], label, source)
    conditions = None
    if given:
        numbers = np.stack([np.asarray(arrays[name], dtype=np.float64) for name in given], 1)
        conditions = check_conditions(numbers, len(numbers), given, source)
    data = dataset_of_codes(
        encode_columns(texts, types),
        types,
        source=source,
        scale=scale,
        labels=labels,
        class_names=class_names,
        conditions=conditions,
    )
    if missing.any():
        data.notes += (f"{int(missing.sum())} rows with missing values are left out",)
    return data


def dataset_of_codes(
    codes: np.ndarray,
    columns: Sequence[Column],
    *,
    source: str,
    scale: TableScale = "quantiles",
    labels: np.ndarray | None = None,
    class_names: tuple[str, ...] = (),
    conditions: Conditions | None = None,
) -> TableDataset:
    """Create a data set from encoded rows.

    Arguments:
        codes: Encoded rows (N, d), see `encode_columns`.
        columns: Columns of the table.
        source: Name of the table in messages.
        scale: Map of numbers and integers to the units of the model. "quantiles" maps each of them to a standard normal
            number; tables of fewer than 100 rows are mapped like "columns". Coordinates of categories are -1 and 1.
        labels: Labels (N,) int64, or None.
        class_names: Name of each class.
        conditions: Numbers on which the rows are conditioned, or None.
    Returns:
        Data set of vectors.
    """
    affine: ScaleChoice = "columns" if scale == "quantiles" else scale
    units = vector_units(codes, affine, source)
    categories = [place for column, place in column_slices(columns) if column.type == "category"]
    if categories:
        width = codes.shape[1]
        numbers = np.ones(width, dtype=bool)
        for place in categories:
            numbers[place] = False
        shift, factor = np.full(width, ONE_HOT_SHIFT), np.full(width, ONE_HOT_SCALE)
        if numbers.any():
            own = vector_units(codes[:, numbers], affine, source)
            shift[numbers], factor[numbers] = own.shift, own.scale
        units = Units(shift=tuple(shift.tolist()), scale=tuple(factor.tolist()))
    widths = np.zeros(codes.shape[1])
    if scale == "quantiles" and len(codes) >= FEWEST_ROWS:
        units, widths = quantile_units(codes, columns, units)
    data = TableDataset(
        codes,
        units=units,
        labels=labels,
        classes=len(class_names),
        class_names=class_names,
        columns=tuple(columns),
        conditions=conditions,
    )
    data.widths = widths
    data.notes = (describe_columns(columns),)
    return data


def describe_columns(columns: Sequence[Column]) -> str:
    """Return a sentence that lists the columns with their types.

    Arguments:
        columns: Columns of a table.
    Returns:
        For example "the columns are age (integer), mass (number), city (3 values)", or the names alone without
        categories.
    """
    from sdekit.data.description import listing

    if all(column.type != "category" for column in columns):
        return f"the columns are {listing(tuple(column.name for column in columns))}"
    kinds = [f"{len(c.values)} values" if c.type == "category" else c.type for c in columns]
    return f"the columns are {listing([f'{c.name} ({kind})' for c, kind in zip(columns, kinds, strict=True)], 24)}"


def column_of(name: str, values: np.ndarray, source: str, *, category: bool = False) -> Column:
    """Infer the type of a column in memory.

    Arguments:
        name: Name of the column.
        values: Its values (N,), without missing ones.
        source: Name of the table in messages.
        category: Whether whole numbers are categories too.
    Returns:
        The column.
    Raises:
        InputError: If the values are texts that seem to identify the rows.
    """
    if values.dtype.kind in "OUSb" or category:
        return Column(name=name, type="category", values=category_values(name, values.astype(str), source))
    if values.dtype.kind in "iu":
        return Column(name=name, type="integer", unit=unit_in_name(name))
    decimals = next((k for k in range(1, MOST_DECIMALS + 1) if _has_decimals(values, k)), None)
    return Column(name=name, decimals=decimals, unit=unit_in_name(name))


def category_values(name: str, texts: np.ndarray, source: str) -> tuple[str, ...]:
    """Return the distinct values of a column of texts, in their natural order.

    Arguments:
        name: Name of the column.
        texts: Values (N,).
        source: Name of the table in messages.
    Returns:
        The values.
    Raises:
        InputError: If there are so many that the column seems to identify the rows.
    """
    values = sort_names(np.unique(texts).tolist())
    if len(values) > MOST_VALUES or len(values) > max(FEW_VALUES, len(texts) // 2):
        raise InputError(
            f"{source}, column '{name}': {len(values)} different texts in {len(texts)} rows, such as "
            f"'{str(texts[0])[:40]}'; a category has at most {MOST_VALUES} values, and at most one for every two rows. "
            "Leave the column out: --option data.columns=NAME,NAME selects columns (in Python: columns=...)"
        )
    return values


def _has_decimals(values: np.ndarray, decimals: int) -> bool:
    """Return whether all values are multiples of 10^-decimals, up to rounding."""
    return bool((np.round(values, decimals) == values).all())


def _plain(values: np.ndarray, name: str, source: str) -> np.ndarray:
    """Return an array (N,) of numbers, truth values or objects. Other arrays raise InputError."""
    if values.ndim != 1:
        raise InputError(f"{source}, column '{name}': shape {values.shape}; expected one value for each row")
    if values.dtype.kind in "Mm":
        raise InputError(
            f"{source}, column '{name}' contains dates or durations; convert them to numbers, such as days since a "
            "date, or leave the column out"
        )
    if values.dtype.kind == "O":
        return _from_objects(values)
    if values.dtype.kind not in "biufUS":
        raise InputError(f"{source}, column '{name}': type {values.dtype}; expected numbers or texts")
    return values.astype(object) if values.dtype.kind in "US" else values


def _from_objects(values: np.ndarray) -> np.ndarray:
    """Return objects as numbers if all of them are numbers or missing, else unchanged."""
    present = [value for value in values.tolist() if not _is_missing(value)]
    if present and all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in present):
        return values.astype(np.int64) if len(present) == len(values) else values
    if present and all(isinstance(value, float | int | np.number) and not isinstance(value, bool) for value in present):
        return np.array([np.nan if _is_missing(value) else float(value) for value in values])
    return values


def _is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, pandas' NA, or an empty text."""
    return value is None or value == "" or type(value).__name__ in ("NAType", "NaTType") or value != value


def _missing(values: np.ndarray) -> np.ndarray:
    """Return which values (N,) are missing."""
    if values.dtype.kind == "O":
        return np.array([_is_missing(value) for value in values])
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def _names(names: str | Sequence[str] | None, table: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """Return names of columns as a tuple. An unknown name raises InputError."""
    if names is None:
        return ()
    chosen = (
        ([names] if names in table else [part.strip() for part in names.split(",")])
        if isinstance(names, str)
        else list(names)
    )
    for name in chosen:
        if name not in table:
            from sdekit.registry import unknown_name

            raise InputError(unknown_name(f"column of {source}", name, list(table), "Columns"))
    return tuple(chosen)


def _classes(values: np.ndarray, name: str, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the labels (N,) and the names of the classes of a column."""
    if values.dtype.kind == "O":
        return number_names([str(value) for value in values])
    return check_labels(values, len(values), f"{source}, column '{name}'")
