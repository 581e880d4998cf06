"""Labels and conditions of the items of a data set, checked when the data set is opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdekit.errors import InputError

from .dataset import Units
from .standardization import column_statistics, vector_units

MAX_CLASSES = 2**20
"""Largest accepted number of classes. Larger labels are probably numbers that were passed as labels by mistake."""


def check_labels(labels: np.ndarray, n: int, source: str) -> tuple[np.ndarray, int]:
    """Check labels and convert them to int64.

    Arguments:
        labels: Labels (N,) or (N, 1) of any integer dtype.
        n: Number of items.
        source: Name of the labels in error messages, such as "'y' in data.npz".
    Returns:
        Labels (N,) int64, and the number of classes, max + 1.
    Raises:
        InputError: If the shape, the dtype or the count is wrong, or if a label is outside [0, 2^20).
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(
            f"{source}: labels of shape {labels.shape}; expected one integer for each item, ({n},). "
            "Convert one-hot rows with .argmax(axis=1)."
        )
    if labels.dtype.kind not in "iub":
        raise InputError(
            f"{source}: labels of type {labels.dtype}; expected integers 0, 1, …; convert them with .astype(int)"
        )
    if len(labels) != n:
        raise InputError(f"{source}: {len(labels)} labels for {n} items; expected one for each item")
    bad = np.flatnonzero((labels < 0) | (labels >= MAX_CLASSES))
    if bad.size:
        raise InputError(
            f"{source}: labels outside the range: label {labels[bad[0]]} at index {bad[0]}; "
            f"expected 0 <= label < {MAX_CLASSES}. Renumber the classes from 0."
        )
    return labels.astype(np.int64), int(labels.max()) + 1


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
