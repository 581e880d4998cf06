"""Reading of a data set item by item: into one array, or when a batch needs the items if these are too large."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from sdekit.errors import InputError, SdekitError

from .item_arrays import item_array, label_array, split_item

MOST_BYTES = 2**30
"""Largest size of all items in memory. Items of larger data sets are read when a batch needs them."""
LOOKED_AT = 256
"""Number of images that are read to find out whether all are grey, if they are not all read into memory."""


class IndexedItems(Protocol):
    """A map-style data set, such as one of torch: `data[i]` is item i, 0 <= i < len(data)."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """Return item `index`."""


class ReadItems(NamedTuple):
    """Items of a data set, and their labels.

    Attributes:
        items: Array (N, *item), or `LazyItems`, which behave like one.
        labels: Labels or conditions (N, ...), or None.
        are_images: Whether the items are images of Pillow, so that channels come first.
    """

    items: Any
    labels: np.ndarray | None
    are_images: bool


class LazyItems:
    """Items that are read when they are needed. Its rows are read like those of an array (N, *item).

    Arguments:
        items: Map-style data set.
        source: Name of the data set in messages.
        shape: Shape of one item.
        dtype: Type of the numbers.
        choice: Column, label and size, see `read_items`.
    """

    def __init__(
        self,
        items: IndexedItems,
        source: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        choice: tuple[str | None, str | None, tuple[int, int] | None],
    ) -> None:
        self._items, self._source, self._choice = items, source, choice
        self.shape, self.dtype = (len(items), *shape), dtype

    @property
    def ndim(self) -> int:
        """Number of axes, that of the items included."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of all values."""
        return prod(self.shape)

    def __len__(self) -> int:
        """Return the number of items."""
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Read the items of a slice, or at an array of indices, as an array (B, *item)."""
        indices = np.arange(len(self))[rows]
        array = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for row, index in enumerate(indices.tolist()):
            array[row] = self._read(index)
        return array

    def _read(self, index: int) -> np.ndarray:
        """Read one item, and check that its shape is that of the first one."""
        column, label, size = self._choice
        source = f"{self._source}[{index}]"
        x = item_array(split_item(get_item(self._items, index, self._source), source, column, label).x, source, size)
        return fitted(x, self.shape[1:], source)


def read_items(
    items: IndexedItems,
    source: str,
    *,
    column: str | None = None,
    label: str | None = None,
    size: tuple[int, int] | None = None,
) -> ReadItems:
    """Read the items of a map-style data set.

    Every item is read once, and three of them twice, in order to find items that change. The arrays of items of up to
    1 GiB stay in memory.

    Arguments:
        items: Map-style data set, or a list.
        source: Name of the data set in messages.
        column: Key of x in items that are dictionaries.
        label: Key of y in items that are dictionaries; "none" for no labels.
        size: Width and height to which images of Pillow are resized, or None.
    Returns:
        Items and labels.
    Raises:
        InputError: If an item cannot be read or has another shape than the first one, or if an item changes from one
            call to the next.
    """
    n = _length(items, source)
    _check_repeatable(items, n, source, column, label, size)
    first = split_item(get_item(items, 0, source), f"{source}[0]", column, label)
    array = item_array(first.x, f"{source}[0]", size)
    are_images = isinstance(first.x, Image.Image)
    shape = array.shape
    in_memory = n * array.nbytes <= MOST_BYTES
    if are_images and shape[0] == 1:
        looked_at: Iterable[int] = range(n) if in_memory else np.linspace(0, n - 1, LOOKED_AT).astype(int).tolist()
        if any(_is_colour(items, i, source, column, label) for i in looked_at):
            shape = (3, *shape[1:])
    rows = np.empty((n, *shape), array.dtype) if in_memory else None
    labels = []
    for i in range(n) if in_memory or first.y is not None else ():
        x, y = split_item(get_item(items, i, source), f"{source}[{i}]", column, label)
        labels.append(y)
        if rows is not None:
            x_array = item_array(x, f"{source}[{i}]", size)
            if x_array.dtype != rows.dtype:
                rows = rows.astype(np.result_type(rows.dtype, x_array.dtype))
            rows[i] = fitted(x_array, shape, f"{source}[{i}]")
    found = None if all(y is None for y in labels) else label_array(labels, source)
    if rows is not None:
        return ReadItems(rows, found, are_images)
    return ReadItems(LazyItems(items, source, shape, array.dtype, (column, label, size)), found, are_images)


def get_item(items: IndexedItems, index: int, source: str) -> Any:
    """Return one item.

    Arguments:
        items: Map-style data set.
        index: Index of the item.
        source: Name of the data set in messages.
    Returns:
        The item as the data set returns it.
    Raises:
        InputError: If the data set raises an error.
    """
    try:
        return items[index]
    except SdekitError:
        raise
    except Exception as error:  # the code of a user may raise any error
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise InputError(f"{source}: item {index} of {len(items)} cannot be read ({reason})") from error


def fitted(x: np.ndarray, shape: tuple[int, ...], source: str) -> np.ndarray:
    """Return an item of the expected shape. A grey image among colour images gets three channels.

    Arguments:
        x: Item.
        shape: Expected shape.
        source: Name of the item in messages.
    Returns:
        Array of the expected shape.
    Raises:
        InputError: If the shape is another one.
    """
    if x.shape == shape:
        return x
    if x.ndim == 3 and (x.shape[0], shape[0]) == (1, 3) and x.shape[1:] == shape[1:]:
        return np.broadcast_to(x, shape)
    raise InputError(
        f"{source} has the shape {x.shape}, and item 0 has {shape}: all items need the same shape. Resize images of "
        "Pillow with size=64 or size='64x48', and crop or pad other items in the data set"
    )


def _length(items: IndexedItems, source: str) -> int:
    """Return the number of items, at least 1."""
    try:
        n = len(items)
    except (TypeError, NotImplementedError) as error:
        raise InputError(f"{source} has no length ({error}): give it a method __len__") from error
    if n < 1:
        raise InputError(f"{source} is empty; expected at least 2 items")
    return n


def _check_repeatable(
    items: IndexedItems,
    n: int,
    source: str,
    column: str | None,
    label: str | None,
    size: tuple[int, int] | None,
) -> None:
    """Raise InputError if one of three items changes from one call to the next."""
    for i in sorted({0, n // 2, n - 1}):
        one, two = (split_item(get_item(items, i, source), f"{source}[{i}]", column, label) for _ in range(2))
        arrays = [item_array(x, f"{source}[{i}]", size) for x in (one.x, two.x)]
        equal_nan = arrays[0].dtype.kind in "fc"
        if not np.array_equal(arrays[0], arrays[1], equal_nan=equal_nan):
            raise InputError(
                f"{source}: item {i} changes from one call to the next, as by a random transform. Items must stay the "
                "same, so that a training can be resumed: remove the random transform. options={'train': {'augment': "
                "0.1}} augments images"
            )


def _is_colour(items: IndexedItems, i: int, source: str, column: str | None, label: str | None) -> bool:
    """Return whether an item is an image of Pillow with colours."""
    x = split_item(get_item(items, i, source), f"{source}[{i}]", column, label).x
    return isinstance(x, Image.Image) and item_array(x, source).shape[0] == 3
