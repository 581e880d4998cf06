"""The order of training: a pure function of (seed, step), so that resuming needs no state and every rank agrees."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sdekit.errors import InputError


def batch_indices(n: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Items of training step `step`: (batch_size,) int64 in [0, n).

    Sample g = step * batch_size + j of the whole run is item g mod n of epoch g // n's permutation, so every epoch
    shows every item once, whatever the batch size. A batch may span epochs and may be larger than n.
    Raises InputError unless n >= 1, batch_size >= 1, step >= 0 and seed >= 0.
    """
    for name, value, least in (("n", n, 1), ("batch size", batch_size, 1), ("step", step, 0), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"{name} = {value}: expected a whole number of at least {least}")
    first = step * batch_size
    stop = first + batch_size
    parts = []
    for epoch in range(first // n, (stop - 1) // n + 1):
        start = epoch * n
        parts.append(epoch_order(n, seed, epoch)[max(first - start, 0) : stop - start])
    return np.concatenate(parts)


@lru_cache(maxsize=2)  # a batch at the seam of two epochs needs both
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Permutation of 0 to n - 1 for one epoch: (n,) int64, read-only because it is shared."""
    # Ranks of raw Philox words, not Generator.permutation: NumPy keeps the former stable across its versions only.
    words = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(n)
    order = np.argsort(words, kind="stable").astype(np.int64)
    order.setflags(write=False)
    return order
