"""Labels that came with the data: checked once, kept as int64 in [0, classes)."""

from __future__ import annotations

import numpy as np

from sdekit.errors import InputError

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
