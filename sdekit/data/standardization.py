"""From what the numbers look like to `Units`: statistics in chunks, and the choice of the affine map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sdekit.errors import InputError

from .dataset import Units

ScaleChoice = Literal["auto", "columns", "global", "none"]

CHUNK = 2**21  # numbers looked at together: 16 MiB in float64, whatever the size of the file


@dataclass(frozen=True)
class Statistics:
    """Of each column of (N, d), in float64: all (d,). Standard deviation with 1/N."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def column_statistics(array: np.ndarray, where: str) -> Statistics:
    """Statistics of the columns of (N, d), a chunk of rows at a time (Chan, Golub and LeVeque 1979).

    where: what a message calls the data. Raises InputError for a number that is NaN or infinite, with its index, and
    for numbers whose squares leave float64.
    """
    rows = max(1, CHUNK // array.shape[1])
    count, mean, spread = 0, np.zeros(array.shape[1]), np.zeros(array.shape[1])
    low, high = np.full(array.shape[1], np.inf), np.full(array.shape[1], -np.inf)
    for start in range(0, len(array), rows):
        raw = array[start : start + rows]
        check_finite(raw, start, where)
        chunk = raw.astype(np.float64)
        low, high = np.minimum(low, chunk.min(axis=0)), np.maximum(high, chunk.max(axis=0))
        m = len(chunk)
        with np.errstate(over="ignore", invalid="ignore"):
            chunk_mean = chunk.mean(axis=0)
            delta = chunk_mean - mean
            spread += np.square(chunk - chunk_mean).sum(axis=0) + np.square(delta) * (count * m / (count + m))
            mean += delta * (m / (count + m))
        count += m
    if not np.isfinite(spread).all():
        column = int(np.flatnonzero(~np.isfinite(spread))[0])
        raise InputError(f"{where}: the numbers in column {column} are too large to standardise; rescale them")
    return Statistics(low, high, mean, np.sqrt(spread / count))


def value_range(array: np.ndarray, where: str) -> tuple[float, float]:
    """Least and greatest number of (N, …), a chunk of items at a time. Raises InputError for NaN and infinity."""
    items = max(1, CHUNK // int(np.prod(array.shape[1:])))
    low, high = np.inf, -np.inf
    for start in range(0, len(array), items):
        chunk = array[start : start + items]
        check_finite(chunk, start, where)
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    return low, high


def check_finite(chunk: np.ndarray, start: int, where: str) -> None:
    """Raise InputError with the index of the first NaN or infinity of items `start` onward."""
    if chunk.dtype.kind != "f" or np.isfinite(chunk).all():
        return
    bad = np.argwhere(~np.isfinite(chunk))[0]
    index = [int(bad[0]) + start, *(int(i) for i in bad[1:])]
    raise InputError(f"{where}: {chunk[tuple(bad)]} at index {index}; remove or replace what is not a finite number")


def vector_units(array: np.ndarray, scale: ScaleChoice, where: str) -> Units:
    """Units of vectors (N, d).

    "columns": each column to mean 0 and standard deviation 1; a constant column is only shifted.
    "global": one map that takes the range of all numbers to [-1, 1].
    "none": as they are.
    "auto": "global" where the columns look like one quantity (uint8, or half of the columns that vary at all cover
    half of the common range or more), else "columns".
    Raises InputError for NaN, infinity, and numbers that float32 cannot hold.
    """
    found = column_statistics(array, where)
    low, high = float(found.low.min()), float(found.high.max())
    check_float32(low, high, where)
    if scale == "auto":
        widths = found.high - found.low
        widths = widths[widths > 0]
        alike = widths.size > 0 and np.mean(widths >= 0.5 * (high - low)) >= 0.5
        scale = "global" if array.dtype == np.uint8 or alike else "columns"
    if scale == "global":
        return range_units(low, high)
    if scale == "columns":
        # A constant column's deviation can be rounding, not 0: its range decides.
        std = np.where((found.high > found.low) & (found.std > 0), found.std, 1.0)
        return Units(shift=tuple(found.mean.tolist()), scale=tuple(std.tolist()))
    return Units()


def range_units(low: float, high: float, layout: str = "same", *, known: bool = False) -> Units:
    """The map of [low, high] to [-1, 1]; equal bounds are only shifted. known: record the bounds, as for pixels."""
    half = 0.5 * high - 0.5 * low
    shift = 0.5 * high + 0.5 * low
    if known:
        return Units(shift=shift, scale=half or 1.0, layout=layout, low=low, high=high)
    return Units(shift=shift, scale=half or 1.0, layout=layout)


def check_float32(low: float, high: float, where: str) -> None:
    """Raise InputError where samples, which are written in data units and float32, would overflow."""
    worst = max(abs(low), abs(high))
    if worst > float(np.finfo(np.float32).max):
        raise InputError(
            f"{where}: numbers up to {worst:g} do not fit float32, as samples must; divide them by a constant"
        )
