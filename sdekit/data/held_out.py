"""Which items are held out: a fixed hash of the index, so that a set that grows never moves an item across."""

from __future__ import annotations

import numpy as np

from sdekit.errors import InputError


def splitmix64(index: np.ndarray) -> np.ndarray:
    """Output number `index` of the SplitMix64 generator started at 0: uint64, the same shape.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    z = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def held_out(n: int, fraction: float) -> np.ndarray:
    """Which of the items 0 to n - 1 are held out: (n,) bool, about n * fraction of them true.

    The answer for item i depends on i and the fraction alone, and a larger fraction only adds items.
    Raises InputError unless 0 <= fraction < 1 and n >= 0.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"held-out fraction {fraction}: expected 0 <= fraction < 1")
    if n < 0:
        raise InputError(f"cannot split {n} items; expected at least 0")
    uniform = (splitmix64(np.arange(n)) >> np.uint64(11)) * 2.0**-53
    return np.asarray(uniform < fraction)


def split(n: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and indices held out, both increasing int64; together they are 0 to n - 1.

    Raises InputError where nothing would be left to train on, and as `held_out` does.
    """
    out = held_out(n, fraction)
    train = np.flatnonzero(~out)
    if not train.size:
        raise InputError(
            f"holding out {fraction:g} of {n} items leaves none to train on; take a smaller fraction or more data"
        )
    return train, np.flatnonzero(out)
