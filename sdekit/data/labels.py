"""What belongs to each item: labels, checked once and kept as int64 in [0, classes), or numbers, standardised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdekit.errors import InputError

from .dataset import Units
from .standardization import vector_units

MAX_CLASSES = 2**20  # beyond this a column of numbers was taken for labels by mistake


def check_labels(labels: np.ndarray, n: int, where: str) -> tuple[np.ndarray, int]:
    """Labels (N,) or (N, 1) of any integer dtype as int64 (N,), and the number of classes, max + 1.

    n: number of items they belong to. where: what the message calls them, e.g. "'y' in data.npz".
    Raises InputError for another shape or dtype, another count, and a label outside [0, 2^20).
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(
            f"{where}: labels of shape {labels.shape}; expected one integer for each item, ({n},). "
            "One-hot rows become that with .argmax(axis=1)."
        )
    if labels.dtype.kind not in "iub":
        raise InputError(f"{where}: labels of type {labels.dtype}; expected integers 0, 1, …; convert by .astype(int)")
    if len(labels) != n:
        raise InputError(f"{where}: {len(labels)} labels for {n} items; expected one for each item")
    bad = np.flatnonzero((labels < 0) | (labels >= MAX_CLASSES))
    if bad.size:
        raise InputError(
            f"{where}: labels outside the range: label {labels[bad[0]]} at index {bad[0]}; "
            f"expected 0 <= label < {MAX_CLASSES}. Renumber the classes from 0."
        )
    return labels.astype(np.int64), int(labels.max()) + 1


@dataclass(frozen=True)
class Numbers:
    """Numbers to condition on: array (N, d) in the user's units, and the map to mean 0 and deviation 1 of each."""

    array: np.ndarray
    names: tuple[str, ...]
    units: Units


def check_numbers(array: np.ndarray, n: int, names: tuple[str, ...] | None, where: str) -> Numbers:
    """Numbers (N, d), or (N,) for d = 1, of n items. names: of the d numbers; None for number1, number2, …

    Raises InputError for another shape, dtype or count, and for what is not finite.
    """
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iufb":
        raise InputError(f"{where}: {array.dtype} of shape {array.shape}; expected real numbers (N,) or (N, d)")
    if len(array) != n:
        raise InputError(f"{where}: {len(array)} rows for {n} items; expected one for each item")
    named = tuple(f"number{i + 1}" for i in range(array.shape[1])) if names is None else names
    return Numbers(array, named, vector_units(array, "columns", where))
