"""Description of a data set in sentences, which are printed when a training starts."""

from __future__ import annotations

import numpy as np

from .dataset import Dataset
from .in_memory import InMemoryDataset

MOST_NAMES = 8
"""Largest number of names in a list."""

MOST_VALUES = 2**24
"""Largest number of values of an array whose range is computed for the description."""


def describe_data(data: Dataset) -> list[str]:
    """Describe what the data were taken for.

    Arguments:
        data: Data set.
    Returns:
        A phrase with the kind, number, shape, range and classes of the items, followed by `data.notes`. Images are
        described by width x height.
    """
    parts = [f"{len(data)} {_items(data)}", _values(data)]
    if data.condition_names:
        parts.append(f"conditioned on {listing(data.condition_names)}")
    elif data.condition_shape:
        parts.append(f"conditioned on embeddings of shape {data.condition_shape}")
    elif data.classes:
        names = f" ({listing(data.class_names)})" if data.class_names else ""
        parts.append(f"{data.classes} class{'' if data.classes == 1 else 'es'}{names}")
    else:
        parts.append("no labels")
    return [", ".join(part for part in parts if part), *data.notes]


def listing(names: tuple[str, ...] | list[str], most: int = MOST_NAMES) -> str:
    """Return the first names, separated by commas, with the number of all names if there are more.

    Arguments:
        names: Names.
        most: Largest number of names to list.
    Returns:
        For example "a, b, c" or "a, b, ... (100 in all)".
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"


def _items(data: Dataset) -> str:
    """Return the kind and the shape of the items in words."""
    if data.kind == "image" and len(data.shape) == 3:
        channels, height, width = data.shape
        colours = {1: "grey images of", 3: "colour images of"}.get(channels, f"images of {channels} channels and")
        return f"{colours} {width}x{height} pixels"
    if data.kind in ("sequence", "volume") and len(data.shape) > 1:
        channels, *sides = data.shape
        values = f"{sides[0]} values" if data.kind == "sequence" else f"{'x'.join(map(str, sides))} values"
        return f"{data.kind}s of {channels} channel{'' if channels == 1 else 's'} and {values}"
    if data.columns:
        return f"rows of {len(data.columns)} column{'' if len(data.columns) == 1 else 's'}"
    if len(data.shape) == 1:
        return f"vectors of {data.shape[0]} number{'' if data.shape[0] == 1 else 's'}"
    return f"items of kind '{data.kind}' and shape {tuple(data.shape)}"


def _values(data: Dataset) -> str:
    """Return the range of the values in the units of the data, or an empty text for a table or if it is not known."""
    if data.columns:
        return ""
    low, high = data.units.low, data.units.high
    if low is None and isinstance(data, InMemoryDataset) and data.array.size <= MOST_VALUES:
        low, high = float(np.min(data.array)), float(np.max(data.array))
    return "" if low is None or high is None else f"values from {low:g} to {high:g}"
