"""Choice of the `Units` that map data to numbers of order 1, from statistics that are computed in chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sdekit.errors import InputError

from .dataset import Units

ScaleChoice = Literal["auto", "columns", "global", "none"]

CHUNK = 2**21
"""Number of values processed at once. They use 16 MiB in float64, whatever the size of the file."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of each column of vectors (N, d) or each channel of other items, in float64.

    Arguments:
        low: Minima, (d,).
        high: Maxima, (d,).
        mean: Means, (d,).
        std: Standard deviations with the factor 1/N, (d,).
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    std: np.ndarray


def column_statistics(array: np.ndarray, source: str, layout: str = "same") -> Statistics:
    """Compute the statistics of each column of vectors or each channel of other items, one chunk of items at a time.

    Arguments:
        array: Numbers (N, *item) of any real dtype.
        source: Name of the data in error messages.
        layout: Axes of an item, see `Units`.
    Returns:
        Statistics of each column or channel.
    Raises:
        InputError: If a number is not finite (the message gives its index), or if the squares overflow float64.
    Source:
        Chan, Golub and LeVeque 1979.
    """
    units = Units(layout=layout)
    d, items = units.model_shape(array.shape[1:])[0], max(1, CHUNK // math.prod(array.shape[1:]))
    count, mean, spread = 0, np.zeros(d), np.zeros(d)
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    for start in range(0, len(array), items):
        raw = array[start : start + items]
        check_finite(raw, start, source)
        chunk = np.moveaxis(units.channels_first(raw), 1, -1).reshape(-1, d).astype(np.float64)
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
        part = "column" if array.ndim == 2 and layout == "same" else "channel"
        raise InputError(f"{source}: the numbers in {part} {column} are too large to standardize; rescale them")
    return Statistics(low, high, mean, np.sqrt(spread / count))


def value_range(array: np.ndarray, source: str) -> tuple[float, float]:
    """Return the smallest and the largest number of an array (N, ...), computed in chunks.

    Raises InputError if a number is not finite.
    """
    items = max(1, CHUNK // int(np.prod(array.shape[1:])))
    low, high = np.inf, -np.inf
    for start in range(0, len(array), items):
        chunk = array[start : start + items]
        check_finite(chunk, start, source)
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    return low, high


def check_finite(chunk: np.ndarray, start: int, source: str) -> None:
    """Raise InputError with the index of the first NaN or infinity in the chunk of items from index `start`."""
    if chunk.dtype.kind != "f" or np.isfinite(chunk).all():
        return
    bad = np.argwhere(~np.isfinite(chunk))[0]
    index = [int(bad[0]) + start, *(int(i) for i in bad[1:])]
    raise InputError(f"{source}: {chunk[tuple(bad)]} at index {index}; remove or replace numbers that are not finite")


def vector_units(array: np.ndarray, scale: ScaleChoice, source: str) -> Units:
    """Choose the units of vectors.

    Arguments:
        array: Vectors (N, d).
        scale: "columns" maps each column to mean 0 and standard deviation 1, and only shifts a constant column.
            "global" maps the range of all numbers to [-1, 1]. "none" changes nothing. "auto" chooses "global" if the
            columns seem to measure the same quantity, else "columns". Columns seem to measure the same quantity if the
            dtype is uint8, or if at least half of the nonconstant columns span at least half of the common range.
        source: Name of the data in error messages.
    Returns:
        Units of the vectors.
    Raises:
        InputError: If a number is not finite or too large for float32.
    """
    statistics = column_statistics(array, source)
    low, high = float(statistics.low.min()), float(statistics.high.max())
    check_float32(low, high, source)
    if scale == "auto":
        widths = statistics.high - statistics.low
        widths = widths[widths > 0]
        alike = widths.size > 0 and np.mean(widths >= 0.5 * (high - low)) >= 0.5
        scale = "global" if array.dtype == np.uint8 or alike else "columns"
    if scale == "global":
        return range_units(low, high)
    if scale == "columns":
        return Units(shift=tuple(statistics.mean.tolist()), scale=tuple(_scales(statistics).tolist()))
    return Units()


def _scales(statistics: Statistics) -> np.ndarray:
    """Return the standard deviation of each column, and 1 for a constant column."""
    # Rounding can make the standard deviation of a constant column positive, so its range is compared.
    varies = (statistics.high > statistics.low) & (statistics.std > 0)
    return np.where(varies, statistics.std, 1.0)


def sequence_units(array: np.ndarray, scale: ScaleChoice, layout: str, source: str) -> Units:
    """Choose the units of sequences.

    Arguments:
        array: Sequences (N, *item).
        scale: "columns" and "auto" map each channel to mean 0 and standard deviation 1, and only shift a constant
            channel. "global" maps the range of all numbers to [-1, 1], and "none" changes nothing.
        layout: Axes of an item, see `Units`.
        source: Name of the data in error messages.
    Returns:
        Units of the sequences.
    Raises:
        InputError: If a number is not finite or too large for float32.
    """
    statistics = column_statistics(array, source, layout)
    low, high = float(statistics.low.min()), float(statistics.high.max())
    check_float32(low, high, source)
    if scale == "global":
        return range_units(low, high, layout)
    if scale == "none":
        return Units(layout=layout)
    mean, std = statistics.mean.tolist(), _scales(statistics).tolist()
    if len(mean) == 1:
        return Units(shift=mean[0], scale=std[0], layout=layout)
    return Units(shift=tuple(mean), scale=tuple(std), layout=layout)


def volume_units(array: np.ndarray, layout: str, source: str) -> Units:
    """Return the units that map all numbers of volumes to mean 0 and standard deviation 1, with their range.

    Arguments:
        array: Volumes (N, *item).
        layout: Axes of an item, see `Units`.
        source: Name of the data in error messages.
    Returns:
        Units of the volumes. Constant volumes are only shifted.
    Raises:
        InputError: If a number is not finite or too large for float32.
    """
    statistics = column_statistics(array, source, layout)
    low, high = float(statistics.low.min()), float(statistics.high.max())
    check_float32(low, high, source)
    mean = float(statistics.mean.mean())
    std = float(np.sqrt((statistics.std**2 + (statistics.mean - mean) ** 2).mean()))
    return Units(shift=mean, scale=std if low < high and std > 0 else 1.0, layout=layout, low=low, high=high)


def range_units(low: float, high: float, layout: str = "same", *, known: bool = False) -> Units:
    """Return the units that map [low, high] to [-1, 1]. If both bounds are equal, the data are only shifted.

    Arguments:
        low: Lower bound.
        high: Upper bound.
        layout: Axes of an item, see `Units`.
        known: Whether to record the bounds as the range of the data, as for pixels.
    Returns:
        Units of the data.
    """
    half = 0.5 * high - 0.5 * low
    shift = 0.5 * high + 0.5 * low
    if known:
        return Units(shift=shift, scale=half or 1.0, layout=layout, low=low, high=high)
    return Units(shift=shift, scale=half or 1.0, layout=layout)


def check_float32(low: float, high: float, source: str) -> None:
    """Raise InputError if samples, which are written as float32 in units of the data, would overflow."""
    largest = max(abs(low), abs(high))
    if largest > float(np.finfo(np.float32).max):
        raise InputError(
            f"{source}: numbers up to {largest:g} are too large for float32, the type of samples; "
            "divide them by a constant"
        )
