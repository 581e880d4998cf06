"""Data sets from Python objects: the objects that are accepted, and how each of them is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from sdekit.arguments import describe_value
from sdekit.data.dataset import Dataset
from sdekit.data.description import listing
from sdekit.data.formats.arrays.array_files import LoadedArrays, dataset_from_arrays
from sdekit.data.formats.arrays.array_layout import KindChoice, LayoutChoice
from sdekit.data.formats.image_decoding import parse_size
from sdekit.data.standardization import ScaleChoice
from sdekit.data.tables import table_from_frame
from sdekit.errors import InputError

from .item_arrays import plain_array, tensor_array
from .item_reading import read_items

ACCEPTED = (
    "a SPEC such as 'digits' or 'images:PATH', a NumPy array, a tensor, a pair (x, y) of them, a list of items (images "
    "of Pillow, arrays, or pairs (x, y)), a map-style data set of torch, a DataFrame of pandas or polars, a Dataset of "
    "Hugging Face, or a Dataset of sdekit"
)
"""Objects that are accepted as data, for messages."""

CONDITIONS = ("numbers", "embedding")
"""Kinds of conditions that the y of (x, y) can be."""


def object_spec(value: Any) -> str:
    """Return the name by which a recipe records a Python object, such as "python:TensorDataset".

    Arguments:
        value: Data.
    Returns:
        The name.
    """
    return f"python:{type(value[0] if isinstance(value, tuple) and value else value).__name__}"


def dataset_from_object(
    value: Any,
    *,
    column: str | None = None,
    label: str | None = None,
    condition: str | None = None,
    kind: KindChoice = "auto",
    layout: LayoutChoice = "auto",
    scale: ScaleChoice = "auto",
    size: int | str | None = None,
    categories: str | None = None,
    drop_missing: bool = False,
) -> Dataset:
    """Create a data set from a Python object.

    | object | items |
    |---|---|
    | NumPy array, tensor | its rows, with the shapes of `array`: (N, d), (N, C, L), (N, H, W), (N, C, H, W), ... |
    | pair `(x, y)` of arrays or tensors | the rows of x; y contains labels, or numbers or embeddings to condition on |
    | `TensorDataset` | those of its one or two tensors |
    | data set of torch, list | each x, `(x,)`, `(x, y)` or a dictionary; x is an array or an image of Pillow |
    | `DataFrame` of pandas or polars | its rows, as a table |
    | `Dataset` of Hugging Face | its rows: images, arrays or a table |
    | `Dataset` of sdekit | its own items |

    Items are read once, and stay in memory up to 1 GiB. Arrays and tensors are not copied. Items of a map-style data
    set must not change from one call to the next.

    Arguments:
        value: The object.
        column: Key of x in items that are dictionaries, or column of a Dataset of Hugging Face; names of columns of a
            table, separated by commas.
        label: Key or column of the labels; "none" for no labels.
        condition: "numbers" or "embedding" to condition on y instead of using it as labels, see `array`; columns of a
            table.
        kind: Kind of the items, see `array`.
        layout: Axes of the items, see `array`.
        scale: Map to the units of the model, see `array`.
        size: Size to which images of Pillow are resized: a number of pixels, or text such as "64x48".
        categories: Columns of whole numbers of a table that are categories, separated by commas.
        drop_missing: Whether rows of a table with missing values are left out. By default a missing value is an error.
    Returns:
        The data set.
    Raises:
        InputError: If the object is none of these, or if its items cannot be used. The message states the remedy.
    """
    source = f"data {object_spec(value)[len('python:') :]}"
    options: dict[str, Any] = {"kind": kind, "layout": layout, "scale": scale}
    if isinstance(value, Dataset):
        given = dict(column=column, label=label, condition=condition, size=size, categories=categories, **options)
        given["drop_missing"] = drop_missing or None
        changed = [name for name, choice in given.items() if choice not in (None, "auto")]
        if changed:
            raise InputError(f"{source}: a data set of sdekit has no options, got {', '.join(changed)}")
        return value
    module = type(value).__module__.partition(".")[0]
    try:
        if module in ("pandas", "polars"):
            if layout != "auto" or kind not in ("auto", "vector") or size is not None:
                raise InputError(f"{source}: kind, layout and size do not apply to the rows of a table: leave them out")
            return _from_frame(
                value,
                source,
                columns=column,
                label=None if label == "none" else label,
                condition=condition,
                categories=() if categories is None else categories,
                drop_missing=drop_missing,
                scale=scale,
            )
        if module == "datasets" and hasattr(value, "features") and hasattr(value, "__len__"):
            from .hub_columns import dataset_from_hub

            data: Dataset = dataset_from_hub(
                value,
                source=source,
                column=column,
                label=label,
                condition=condition,
                size=size,
                categories=categories,
                drop_missing=drop_missing,
                **options,
            )
            return data
        _check_accepted(value, source)
        if categories is not None or drop_missing:
            raise InputError(f"{source}: categories and drop_missing are for the columns of a table: leave them out")
        items, labels, are_images = _read(value, source, column, label, parse_size(size))
        if are_images:
            if layout != "auto" or kind not in ("auto", "image"):
                raise InputError(f"{source}: kind and layout are for arrays, and the items are images of Pillow")
            options |= {"kind": "image", "layout": "channels-first"}
        return _from_arrays(items, labels, source, condition, options)
    except InputError as error:
        raise InputError(in_python(str(error))) from error


def in_python(message: str) -> str:
    """Rewrite the options of the command line in a message as arguments of Python.

    Arguments:
        message: Message, such as "pass --option data.layout=grey".
    Returns:
        The message with `options={'data': {'layout': 'grey'}}`.
    """
    message = re.sub(r"--option data\.labels=none", "label='none' in options={'data': {'label': 'none'}}", message)
    message = re.sub(r"--option (\w+)\.(\w+)=([\w-]+)", r"options={'\1': {'\2': '\3'}}", message)
    return message.replace("--condition NAME", "condition='numbers'")


def _check_accepted(value: Any, source: str) -> None:
    """Raise InputError for objects that have no items with an index, with the remedy."""
    of_hub = type(value).__module__.partition(".")[0] == "datasets"
    if isinstance(value, DataLoader):
        raise InputError(
            f"{source}: a DataLoader has batches in an order of its own; pass its data set, loader.dataset. sdekit "
            "chooses the batches, so that a training can be resumed"
        )
    if isinstance(value, IterableDataset) or (of_hub and type(value).__name__.startswith("Iterable")):
        raise InputError(
            f"{source}: a streamed data set has no items with an index, which exact resumption needs; load it into a "
            "list or an array, or use a map-style data set with __len__ and __getitem__"
        )
    if isinstance(value, Mapping) and of_hub:
        raise InputError(f"{source}: has the splits {', '.join(map(str, value))}; pass one, such as data['train']")
    if isinstance(value, Iterator):
        raise InputError(f"{source}: can be read only once; pass list(...) of it. Data may be {ACCEPTED}")
    indexed = hasattr(value, "__getitem__") or hasattr(value, "__array__")
    if isinstance(value, (Mapping, str, bytes, type)) or not indexed:
        got = describe_value(value)
        if isinstance(value, Mapping):
            keys = listing([str(key) for key in value])
            got = (
                f"a {type(value).__name__} with the keys {keys}; of a dictionary of arrays pass (values['x'], "
                "values['y']), and of columns pandas.DataFrame(values)"
            )
        raise InputError(f"data must be {ACCEPTED}, got {got}")


def _read(
    value: Any, source: str, column: str | None, label: str | None, size: tuple[int, int] | None
) -> tuple[Any, np.ndarray | None, bool]:
    """Return the items, the labels or None, and whether the items are images of Pillow."""
    if isinstance(value, TensorDataset):
        if len(value.tensors) not in (1, 2):
            raise InputError(
                f"{source}: it has {len(value.tensors)} tensors; expected TensorDataset(x) or TensorDataset(x, y)"
            )
        value = tuple(value.tensors) if len(value.tensors) == 2 else value.tensors[0]
    if isinstance(value, tuple):
        if len(value) != 2:
            raise InputError(f"{source}: a tuple of {len(value)}; expected (x, y), or a list of items")
        x, read_y, are_images = _read(value[0], source, column, label, size)
        if read_y is not None:
            raise InputError(f"{source}: the items of x in (x, y) have labels of their own; pass x alone")
        y = _array(value[1], f"{source}: y") if label != "none" else None
        if y is not None and (not y.ndim or len(y) != len(x)):
            raise InputError(f"{source}: x has {len(x)} items, and y has the shape {y.shape}; expected one y for each")
        return x, y, are_images
    if isinstance(value, list) and not value:
        raise InputError(f"{source}: an empty list; expected at least 2 items")
    is_array = isinstance(value, (torch.Tensor, np.ndarray)) or hasattr(value, "__array__")
    if (is_array and str(getattr(value, "dtype", "")) != "object") or (
        isinstance(value, list) and _is_numbers(value[0])
    ):
        for name, choice in (("column", column), ("label", None if label == "none" else label), ("size", size)):
            if choice is not None:
                raise InputError(f"{source}: {name} does not apply to an array: leave it out")
        return _array(value, source), None, False
    return read_items(list(value) if is_array else value, source, column=column, label=label, size=size)


def _array(value: Any, source: str) -> np.ndarray:
    """Convert an array or a tensor."""
    return tensor_array(value, source) if isinstance(value, torch.Tensor) else plain_array(value, source)


def _is_numbers(value: Any) -> bool:
    """Return whether the first element of a list is a number, or a list of numbers."""
    return isinstance(value, (int, float)) or (isinstance(value, list) and bool(value) and _is_numbers(value[0]))


def _from_arrays(
    items: Any, y: np.ndarray | None, source: str, condition: str | None, options: dict[str, Any]
) -> Dataset:
    """Create a data set of items, and of the labels or conditions y (N, ...)."""
    if condition is not None:
        if y is None:
            raise InputError(f"{source} has no y to condition on: pass (x, y), or leave out condition={condition!r}")
        if condition not in CONDITIONS:
            raise InputError(f"condition must be 'none', 'label', 'numbers' or 'embedding', got {condition!r}")
        kind: Any = condition
        return dataset_from_arrays(
            LoadedArrays(items, None), source, condition=y, condition_name="y", condition_kind=kind, **options
        )
    notes: tuple[str, ...] = ()
    if y is not None and y.dtype.kind == "f" and not (np.isfinite(y).all() and (y == np.rint(y)).all()):
        notes = ("y contains numbers that are not whole, so that they are no labels (condition='numbers' uses them)",)
        y = None
    loaded = LoadedArrays(items, y, "y", notes=notes)
    data = dataset_from_arrays(loaded, source, **options)
    data.notes = tuple(map(in_python, data.notes))
    return data


def _from_frame(frame: Any, source: str, *, scale: ScaleChoice, **options: Any) -> Dataset:
    """Create a data set of the rows of a DataFrame or of a Series."""
    frame = frame.to_frame() if hasattr(frame, "to_frame") else frame
    return table_from_frame(frame, source=source, scale="quantiles" if scale == "auto" else scale, **options)
