"""Order of the items in training. It depends only on seed and step, so that resumed runs and all processes agree."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sdekit.errors import InputError


def batch_indices(n: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """Return the indices of the items of one training step.

    Index j of a step has the position g = step * batch_size + j in the whole run. It is element g mod n of the
    permutation of epoch g // n. Every epoch therefore contains every item exactly once, for any batch size. A batch may
    span several epochs and may be larger than n.

    Arguments:
        n: Number of items, at least 1.
        batch_size: Number of indices, at least 1.
        step: Training step, at least 0.
        seed: Seed of the order, at least 0.
    Returns:
        Indices (batch_size,) int64 in [0, n).
    Raises:
        InputError: If an argument is out of range.
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


@lru_cache(maxsize=2)  # a batch at the boundary of two epochs needs both
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation of 0 to n - 1 for one epoch, (n,) int64. The array is cached and therefore read-only."""
    # NumPy keeps the raw words of Philox stable across versions, but not the results of Generator.permutation.
    words = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(n)
    order = np.argsort(words, kind="stable").astype(np.int64)
    order.setflags(write=False)
    return order
