"""Data sets of Hugging Face `datasets`: the choice of the columns, and images, arrays and tables of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sdekit.data.classes import sort_names
from sdekit.data.dataset import Dataset
from sdekit.data.description import listing
from sdekit.data.formats.arrays.array_files import LoadedArrays, dataset_from_arrays
from sdekit.data.formats.arrays.array_layout import KindChoice, LayoutChoice
from sdekit.data.formats.arrays.array_names import parse_array_name
from sdekit.data.formats.image_files import dataset_from_images
from sdekit.data.formats.regular_files import read_regular
from sdekit.data.labels import check_labels
from sdekit.data.standardization import ScaleChoice
from sdekit.data.tables import table_from_columns
from sdekit.errors import InputError
from sdekit.registry import unknown_name

ARRAYS = ("Sequence", "List", "LargeList", "FixedSizeList", "Array2D", "Array3D", "Array4D", "Array5D", "list")
"""Classes of features that contain an array for each row."""


class HubColumns(NamedTuple):
    """Columns of a data set by their kind.

    Attributes:
        images: Columns of images.
        arrays: Columns of lists or arrays of numbers.
        numbers: Columns of numbers and of bool.
        texts: Columns of text.
        classes: Columns of labels with names.
        others: Columns of other kinds, such as audio.
    """

    images: list[str]
    arrays: list[str]
    numbers: list[str]
    texts: list[str]
    classes: list[str]
    others: list[str]


def dataset_from_hub(
    rows: Any,
    *,
    source: str,
    column: str | None = None,
    label: str | None = None,
    condition: str | None = None,
    size: int | str | None = None,
    kind: KindChoice = "auto",
    layout: LayoutChoice = "auto",
    scale: ScaleChoice = "auto",
    categories: str | None = None,
    drop_missing: bool = False,
) -> Dataset:
    """Create a data set of the rows of a `datasets.Dataset`.

    The items are the only column of images, or else the only column of arrays, or else all columns of numbers as a
    table. Images are decoded when a batch needs them. Labels are the only column of class labels, or else the only
    column with the name of labels.

    Arguments:
        rows: The `datasets.Dataset`.
        source: Name of the data set in messages.
        column: Column of the items, or names of the columns of a table, separated by commas.
        label: Column of the labels; "none" for no labels.
        condition: Columns of numbers of a table to condition on, separated by commas.
        size: Size to which images are resized, see `sdekit.data.formats.images`.
        kind: Kind of the items in a column of arrays, see `sdekit.data.formats.array`.
        layout: Axes of these items, see `sdekit.data.formats.array`.
        scale: Map to the units of the model, see `sdekit.data.formats.array`.
        categories: Columns of whole numbers of a table that are categories, separated by commas.
        drop_missing: Whether rows of a table with missing values are left out. By default a missing value is an error.
    Returns:
        Images, arrays or a table.
    Raises:
        InputError: If several columns may be the items, if a column does not exist, or if its values cannot be used.
    """
    if not len(rows):
        raise InputError(f"{source} is empty; expected at least 2 items")
    columns = kinds_of_columns(rows)
    label = _choose_label(rows, columns, label, source)
    names = _choose_items(rows, columns, column, label, source)
    are_images, are_arrays = names[0] in columns.images, names[0] in columns.arrays
    if not are_images and size is not None:
        raise InputError(f"{source}: size resizes images, and the items are columns of numbers: leave it out")
    if not are_arrays and (layout != "auto" or kind not in ("auto", "image" if are_images else "vector")):
        items = "images" if are_images else "rows of a table"
        raise InputError(f"{source}: kind and layout are for arrays, and the items are {items}: leave them out")
    if (categories is not None or drop_missing) and (are_images or are_arrays):
        raise InputError(f"{source}: categories and drop_missing are for the columns of a table: leave them out")
    if not (are_images or are_arrays):
        wanted = dict.fromkeys([*names, *([] if label is None else [label]), *(condition or "").split(",")])
        values = {name: _column(rows, name, source) for name in wanted if name in rows.column_names}
        if label in columns.classes:
            values[label] = np.array(rows.features[label].names)[_labels(rows, label, source)[0]]
        return table_from_columns(
            values,
            source=source,
            columns=names,
            label=label,
            condition=condition,
            categories=categories or (),
            drop_missing=drop_missing,
            scale="quantiles" if scale == "auto" else scale,
        )
    if condition is not None:
        texts = f"; training on captions such as {columns.texts[0]!r} is not supported" if columns.texts else ""
        raise InputError(f"{source}: condition={condition!r} names columns of a table; use condition='label'{texts}")
    notes = _notes(columns, names[0], label)
    labels, class_names = (None, None) if label is None else _labels(rows, label, source)
    if are_arrays:
        arrays = np.asarray(_column(rows, names[0], source))
        chosen = None if class_names is None else np.array(class_names)
        loaded = LoadedArrays(arrays, labels, label or "", chosen, notes)
        return dataset_from_arrays(loaded, source, kind=kind, layout=layout, scale=scale, required=label is not None)
    if scale not in ("auto", "global"):
        raise InputError(f"{source}: scale={scale!r} is for numbers, and the items are images: leave it out")
    classes, names_of_classes = None, tuple[str, ...]()
    if labels is not None:
        classes, names_of_classes = check_labels(labels, len(rows), f"'{label}' in {source}")
        if class_names is not None:
            names_of_classes = tuple(class_names[int(name)] for name in names_of_classes)
    data = dataset_from_images(
        HubImages(rows, names[0]), source, classes=classes, class_names=names_of_classes, size=size,
        scale="global" if scale == "global" else "auto",
    )  # fmt: skip
    data.notes += notes
    return data


class HubImages:
    """Encoded images of a column.

    Arguments:
        rows: The `datasets.Dataset`.
        column: Column of images.
    """

    def __init__(self, rows: Any, column: str) -> None:
        encoded = type(rows.features[column])(decode=False)
        self._rows, self._column = rows.select_columns([column]).cast_column(column, encoded), column
        self.names: Sequence[str] = _RowNames(len(rows))

    def read(self, i: int, limit: int | None = None) -> bytes:
        """Read image i, or its first `limit` bytes. Raises OSError if there is no image."""
        value = self._rows[i][self._column]
        if value is None:
            raise OSError("no image")
        if value.get("bytes") is not None:
            content: bytes = value["bytes"]
            return content[:limit]
        return read_regular(value["path"], limit)


class _RowNames(Sequence[str]):
    """Names "row 0", "row 1", ... of the images of a column."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: Any) -> Any:
        return f"row {i}"


def kinds_of_columns(rows: Any) -> HubColumns:
    """Sort the columns of a data set by their kind.

    Arguments:
        rows: The `datasets.Dataset`.
    Returns:
        Names of the columns of each kind, in their order.
    """
    kinds = HubColumns([], [], [], [], [], [])
    for name, feature in rows.features.items():
        kind, dtype = type(feature).__name__, str(getattr(feature, "dtype", ""))
        if kind == "Image":
            kinds.images.append(name)
        elif kind == "ClassLabel":
            kinds.classes.append(name)
        elif kind in ARRAYS and _innermost(feature).startswith(("float", "int", "uint", "bool")):
            kinds.arrays.append(name)
        elif kind == "Value" and dtype.startswith(("float", "int", "uint", "bool")):
            kinds.numbers.append(name)
        elif kind == "Value" and dtype in ("string", "large_string"):
            kinds.texts.append(name)
        else:
            kinds.others.append(name)
    return kinds


def _innermost(feature: Any) -> str:
    """Return the type of the numbers in nested lists."""
    while True:
        inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
        if inner is None:
            return str(getattr(feature, "dtype", ""))
        feature = inner


def _choose_label(rows: Any, columns: HubColumns, label: str | None, source: str) -> str | None:
    """Return the column of the labels, or None."""
    if label == "none":
        return None
    if label is not None:
        if label not in rows.column_names:
            raise InputError(unknown_name(f"column of {source}", label, rows.column_names, "Columns"))
        if label in columns.images + columns.arrays + columns.others:
            raise InputError(f"{source}: the column {label!r} contains no labels; expected whole numbers or text")
        return label
    if len(columns.classes) == 1:
        return columns.classes[0]
    if columns.classes or not (columns.images or columns.arrays):
        return None  # the columns of a table are chosen by label=
    named = [name for name in columns.numbers + columns.texts if parse_array_name(name).role == "labels"]
    return named[0] if len(named) == 1 else None


def _choose_items(rows: Any, columns: HubColumns, column: str | None, label: str | None, source: str) -> list[str]:
    """Return the column of images or arrays, or the columns of a table."""
    if column is not None:
        names = [column] if column in rows.column_names else [name.strip() for name in column.split(",")]
        for name in names:
            if name not in rows.column_names:
                raise InputError(unknown_name(f"column of {source}", name, rows.column_names, "Columns"))
            if name in columns.others or (len(names) > 1 and name in columns.images + columns.arrays):
                raise InputError(
                    f"{source}: the column {name!r} cannot be used ({rows.features[name]}); expected one column of "
                    "images or arrays, or columns of numbers and text"
                )
        return names
    for kind, names in (("images", columns.images), ("arrays", columns.arrays)):
        if len(names) > 1:
            raise InputError(
                f"{source} has several columns of {kind}: choose one with column=. They are {listing(names)}"
            )
        if names:
            return names
    table = [name for name in (*columns.numbers, *columns.classes) if name != label]
    if not table:
        raise InputError(
            f"{source} has no column of images, arrays or numbers; its columns are {listing(list(rows.column_names))}. "
            "Columns of text can be categories of a table: column=NAME,NAME"
        )
    return [name for name in rows.column_names if name in table]


def _labels(rows: Any, label: str, source: str) -> tuple[np.ndarray, list[str] | None]:
    """Return the labels (N,) and the names of the classes, or None if the labels are the names."""
    values = rows.select_columns([label]).with_format(None)[:][label]
    if any(value is None for value in values):
        raise InputError(f"{source}: row {list(values).index(None)} has no label: remove such rows, or pass label=none")
    names = getattr(rows.features[label], "names", None)
    if names is not None and min(values) < 0:
        raise InputError(
            f"{source}: row {list(values).index(min(values))} has no label (-1), as in test splits: choose another "
            "split, or pass label=none"
        )
    return np.array(values), names


def _column(rows: Any, name: str, source: str) -> np.ndarray:
    """Return the values of a column, (N, ...); texts and missing values give an array of objects."""
    values = rows.select_columns([name]).with_format(None)[:][name]
    if type(rows.features[name]).__name__ in ARRAYS:
        try:
            array = np.array(values, dtype=np.dtype(_innermost(rows.features[name])))
        except (ValueError, TypeError) as error:
            lengths = sort_names({str(len(value)) for value in values if value is not None})
            raise InputError(
                f"{source}: the rows of {name!r} are no arrays of equal shape (lengths {listing(lengths)}): crop or "
                "pad them"
            ) from error
        return array
    texts = any(isinstance(value, str) or value is None for value in values)
    return np.array(values, dtype=object) if texts else np.array(values)


def _notes(columns: HubColumns, item: str, label: str | None) -> tuple[str, ...]:
    """Return sentences about the choice of the columns."""
    notes = [f"the items are the column {item!r}" + ("" if label is None else f", and the labels {label!r}")]
    texts = [name for name in columns.texts if name != label]
    if texts and item in columns.images:
        notes.append(f"the texts of {listing(texts)} are left out, because training on captions is not supported")
    others = [name for kind in columns for name in kind if name not in (item, label, *texts)]
    if others:
        notes.append(f"the columns {listing(others)} are left out")
    return tuple(notes)
