"""Fingerprint of a data set: a few numbers by which a resumed run recognises the data that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sdekit.data import Dataset
from sdekit.errors import SdekitError

ITEMS = 16
"""Number of items in a fingerprint."""
TOLERANCE = 0.05
"""Largest difference of a number, relative to the spread of all numbers. Decoders of images differ by much less."""

Fingerprint = tuple[float | None, ...]


def fingerprint(data: Dataset) -> Fingerprint:
    r"""Compute the fingerprint of a data set: two numbers for each of `ITEMS` evenly spaced items.

    The first number is \(x \cdot u / |u|\) with a fixed random direction u; the second is the mean of y, or None
    without a condition. Names and paths of files do not count, so the data may be moved.

    Arguments:
        data: Data set.
    Returns:
        The numbers; None for both numbers of an item that cannot be read.
    """
    direction = np.random.default_rng(0).standard_normal(math.prod(data.shape))
    direction /= np.linalg.norm(direction)
    numbers: list[float | None] = []
    for index in np.unique(np.linspace(0, len(data) - 1, ITEMS).astype(int)):
        try:
            x, y = data.batch([int(index)])
        except SdekitError:  # a damaged item stops the step that needs it
            numbers += [None, None]
            continue
        projection, mean = (
            float(x.double().numpy().ravel() @ direction),
            None if y is None else float(y.double().mean()),
        )
        numbers += [float(f"{projection:.6g}"), None if mean is None else float(f"{mean:.6g}")]
    return tuple(numbers)


def is_same_data(recorded: Sequence[float | None], now: Sequence[float | None]) -> bool:
    """Return whether two fingerprints can belong to the same data.

    Arguments:
        recorded: Fingerprint in a run folder; empty for runs of earlier versions, which agrees with any data.
        now: Fingerprint of the present data.
    Returns:
        False if a number differs by more than the rounding of a decoder.
    """
    if not recorded:
        return True
    if len(recorded) != len(now):
        return False
    for part in (slice(0, None, 2), slice(1, None, 2)):
        pairs = [(a, b) for a, b in zip(recorded[part], now[part], strict=True) if a is not None and b is not None]
        values = np.array(pairs).reshape(-1, 2)
        if len(values):
            room = TOLERANCE * values[:, 0].std() + 1e-5 * np.abs(values[:, 0]).max()
            if not (np.abs(values[:, 0] - values[:, 1]) <= room).all():
                return False
    return True
