"""Choice of held-out items by a fixed hash of their index. Adding items does not change the choice for other items."""

from __future__ import annotations

import numpy as np

from sdekit.errors import InputError


def splitmix64(index: np.ndarray) -> np.ndarray:
    """Return output number `index` of the SplitMix64 generator with seed 0.

    Arguments:
        index: Whole numbers from 0, of any shape.
    Returns:
        Numbers of the same shape, uint64.
    Source:
        Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    z = (index.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def held_out(n: int, fraction: float) -> np.ndarray:
    """Choose which of n items are held out.

    The result for item i depends only on i and the fraction. A larger fraction holds out the same items and others.

    Arguments:
        n: Number of items, at least 0.
        fraction: Expected fraction of held-out items, 0 <= fraction < 1.
    Returns:
        Array (n,) of bool, true for held-out items.
    Raises:
        InputError: If the fraction or n is out of range.
    """
    if not 0 <= fraction < 1:
        raise InputError(f"held-out fraction {fraction}: expected 0 <= fraction < 1")
    if n < 0:
        raise InputError(f"cannot split {n} items; expected at least 0")
    uniform = (splitmix64(np.arange(n)) >> np.uint64(11)) * 2.0**-53
    return np.asarray(uniform < fraction)


def split(n: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split n items into a training part and a held-out part, see `held_out`.

    Arguments:
        n: Number of items.
        fraction: Expected fraction of held-out items, 0 <= fraction < 1.
    Returns:
        Increasing int64 indices of the training part and of the held-out part.
    Raises:
        InputError: If no item remains to train on, or if the fraction or n is out of range.
    """
    mask = held_out(n, fraction)
    train = np.flatnonzero(~mask)
    if not train.size:
        raise InputError(
            f"holding out {fraction:g} of {n} items leaves no item to train on; use a smaller fraction or more data"
        )
    return train, np.flatnonzero(mask)
