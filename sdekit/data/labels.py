"""Labels and conditions of the items of a data set, checked when the data set is opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdekit.errors import InputError

from .classes import is_number, number_names, whole_number
from .dataset import Units
from .standardization import CHUNK, column_statistics, vector_units

MAX_CLASSES = 2**20
"""Largest accepted number of classes. More classes are probably numbers that were passed as labels by mistake."""

LARGEST_WHOLE = 2.0**53
"""Largest float whose neighbours differ by 1."""


def check_labels(labels: np.ndarray, n: int, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number the classes that occur in an array of labels.

    The classes are the distinct values under their own names: the labels 1 and 3 are two classes, "1" and "3".

    Arguments:
        labels: One label for each item, of shape (N,), (N, 1) or (1, N): whole numbers of any dtype, bool, or text.
            One-hot rows (N, K) are the classes 0 to K - 1, of which only those that occur count.
        n: Number of items.
        source: Name of the labels in error messages, such as "'y' in data.npz".
    Returns:
        Labels (N,) int64 in [0, classes), and the name of each class, in the order of `sort_names`.
    Raises:
        InputError: If the shape, the dtype or the count is wrong, if a label is missing or not a whole number, or if
            there are more than 2^20 classes.
    """
    flat = _one_per_item(labels, n, source)
    if flat.dtype.kind in "iub":
        values, positions = np.unique(flat, return_inverse=True)
        names = tuple(str(value) for value in values.tolist())
        found = positions.astype(np.int64)
    elif flat.dtype.kind == "f":
        _check_whole(flat, source)
        values, positions = np.unique(flat, return_inverse=True)
        names = tuple(str(int(value)) for value in values.tolist())
        found = positions.astype(np.int64)
    else:
        found, names = number_names(_texts(flat, source))
    if len(names) > MAX_CLASSES:
        raise InputError(f"{source}: {len(names)} different labels; expected at most {MAX_CLASSES} classes")
    return found, names


def _one_per_item(labels: np.ndarray, n: int, source: str) -> np.ndarray:
    """Return labels (N,), from an array with further axes of length 1 or with one-hot rows."""
    if labels.dtype.kind not in "iubfSU":
        kind = "Python objects" if labels.dtype.kind == "O" else f"type {labels.dtype}"
        raise InputError(f"{source}: labels of {kind}; expected whole numbers or text, such as from .astype(str)")
    if labels.ndim and labels.size == max(labels.shape):
        if labels.size != n:
            raise InputError(f"{source}: {labels.size} labels for {n} items; expected one for each item")
        return labels.reshape(-1)
    if labels.ndim == 2 and len(labels) == n and labels.dtype.kind in "iubf" and labels.shape[1] <= MAX_CLASSES:
        found = _from_one_hot(labels)
        if found is not None:
            return found
    raise InputError(
        f"{source}: labels of shape {labels.shape}; expected one label for each item, ({n},), or one-hot rows with a "
        "single 1"
    )


def _from_one_hot(labels: np.ndarray) -> np.ndarray | None:
    """Return the position of the single 1 in each row (N,), or None if a row is not one-hot."""
    found = np.empty(len(labels), dtype=np.int64)
    rows = max(1, CHUNK // labels.shape[1])
    for start in range(0, len(labels), rows):
        part = np.asarray(labels[start : start + rows])
        ones = part == 1
        if not ((ones.sum(1) == 1).all() and (ones | (part == 0)).all()):
            return None
        found[start : start + rows] = ones.argmax(1)
    return found


def _check_whole(labels: np.ndarray, source: str) -> None:
    """Raise InputError if a label is not a whole number."""
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~((labels == np.rint(labels)) & (np.abs(labels) <= LARGEST_WHOLE)))
    if bad.size:
        raise InputError(
            f"{source}: label {labels[bad[0]]:g} at index {bad[0]}; expected integers or text. Numbers can be a "
            "condition: --condition NAME"
        )


def _texts(labels: np.ndarray, source: str) -> list[str]:
    """Return labels of text, without spaces around them."""
    try:
        names = (np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels).tolist()
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: labels of bytes that are not UTF-8 text ({error})") from error
    return check_names([str(name).strip() for name in names], source)


def check_names(names: list[str], source: str) -> list[str]:
    """Check labels of text.

    Arguments:
        names: Label of each item.
        source: Name of the labels in error messages.
    Returns:
        The same labels.
    Raises:
        InputError: If a label is empty, or if all labels are numbers and one of them is not a whole number.
    """
    if "" in names:
        raise InputError(f"{source}: the label at index {names.index('')} is empty; fill it in or remove the item")
    distinct = set(names)
    if all(map(is_number, distinct)):
        fraction = next((name for name in names if whole_number(name) is None), None)
        if fraction is not None:
            raise InputError(
                f"{source}: label {fraction} at index {names.index(fraction)}; expected whole numbers or text"
            )
    return names


@dataclass(frozen=True)
class Conditions:
    """Numbers or embeddings on which the items of a data set are conditioned.

    Arguments:
        array: Numbers (N, d), embeddings (N, d) or sequences of embeddings (N, L, d), in the units of the data.
        names: Name of each of the d numbers; empty for embeddings.
        units: Units in which each number has mean 0 and standard deviation 1, or in which all entries of embeddings
            together have root mean square 1.
    """

    array: np.ndarray
    names: tuple[str, ...]
    units: Units


def check_conditions(array: np.ndarray, n: int, names: tuple[str, ...] | None, source: str) -> Conditions:
    """Check conditions and standardize each of their numbers.

    Arguments:
        array: Numbers (N, d), or (N,) if d = 1.
        n: Number of items.
        names: Name of each number. None stands for number1, number2, ...
        source: Name of the numbers in error messages.
    Returns:
        Conditions of the items.
    Raises:
        InputError: If the shape, the dtype or the count is wrong, or if a number is not finite.
    """
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iufb":
        raise InputError(f"{source}: {array.dtype} of shape {array.shape}; expected real numbers (N,) or (N, d)")
    if len(array) != n:
        raise InputError(f"{source}: {len(array)} rows for {n} items; expected one for each item")
    names = tuple(f"number{i + 1}" for i in range(array.shape[1])) if names is None else names
    return Conditions(array, names, vector_units(array, "columns", source))


def check_embeddings(array: np.ndarray, n: int, source: str) -> Conditions:
    """Check embeddings on which items are conditioned, and compute their units.

    Arguments:
        array: Embeddings (N, d), or sequences of embeddings (N, L, d).
        n: Number of items.
        source: Name of the array in error messages.
    Returns:
        The embeddings and their units.
    Raises:
        InputError: If the shape, the dtype or the count is wrong, or if a number is not finite.
    """
    if array.ndim not in (2, 3) or not array.size or array.dtype.kind not in "iufb":
        raise InputError(
            f"{source}: {array.dtype} of shape {array.shape}; expected embeddings (N, d) or sequences of them (N, L, d)"
        )
    if len(array) != n:
        raise InputError(f"{source}: {len(array)} rows for {n} items; expected one for each item")
    columns = column_statistics(array.reshape(len(array), -1), source)
    scale = float(np.sqrt(np.mean(columns.std**2 + columns.mean**2)))
    return Conditions(array, (), Units(scale=scale or 1.0))
