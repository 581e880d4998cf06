"""Data sets of the columns of a table that is in memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sdekit.data.dataset import Dataset
from sdekit.data.in_memory import InMemoryDataset
from sdekit.data.labels import check_conditions, check_labels
from sdekit.data.standardization import ScaleChoice, vector_units
from sdekit.errors import InputError
from sdekit.registry import unknown_name


def dataset_from_columns(
    values: Mapping[str, np.ndarray],
    *,
    source: str,
    columns: str | None = None,
    label: str | None = None,
    condition: str | None = None,
    scale: ScaleChoice = "auto",
) -> Dataset:
    """Create a data set of vectors of the columns of a table.

    Arguments:
        values: Values (N,) of each column.
        source: Name of the table in messages.
        columns: Columns to train on, separated by commas. The default is all columns except labels and conditions.
        label: Column of the labels; None or "none" for no labels.
        condition: Columns of numbers to condition on, separated by commas.
        scale: Map to the units of the model; "auto" is "columns".
    Returns:
        Data set of vectors.
    Raises:
        InputError: If a column does not exist or cannot be used.
    """
    label = None if label == "none" else label
    given = _split(condition, values, source)
    names = _split(columns, values, source) or [name for name in values if name != label and name not in given]
    for name in [*names, *given]:
        if values[name].dtype.kind not in "iufb":
            raise InputError(f"{source}: the column {name!r} contains other values than numbers; leave it out")
    items = np.column_stack([values[name] for name in names])
    units = vector_units(items, "columns" if scale == "auto" else scale, source)
    if given:
        numbers = check_conditions(np.column_stack([values[name] for name in given]), len(items), tuple(given), source)
        return InMemoryDataset(items, units=units, columns=tuple(names), conditions=numbers)
    data = InMemoryDataset(items, units=units, columns=tuple(names))
    if label is not None:
        chosen = values[_split(label, values, source)[0]]
        texts = chosen.astype(str) if chosen.dtype == object else chosen
        data.labels, data.class_names = check_labels(texts, len(items), f"'{label}' in {source}")
        data.classes = len(data.class_names)
    return data


def _split(text: str | None, values: Mapping[str, np.ndarray], source: str) -> list[str]:
    """Return the columns named in an option, separated by commas."""
    names = [] if text is None else [text] if text in values else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in values:
            raise InputError(unknown_name(f"column of {source}", name, list(values), "Columns"))
    return names
