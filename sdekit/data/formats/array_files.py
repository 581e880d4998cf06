"""Data sets of vectors or images in a NumPy file, .npy or .npz."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import Literal

import numpy as np

from sdekit.data.dataset import Units
from sdekit.data.in_memory import InMemoryDataset
from sdekit.data.labels import check_conditions, check_embeddings, check_labels
from sdekit.data.standardization import (
    CHUNK,
    ScaleChoice,
    check_float32,
    range_units,
    value_range,
    vector_units,
)
from sdekit.errors import InputError
from sdekit.registry import unknown_name

ITEM_KEYS = ("x", "images", "data")
LABEL_KEYS = ("y", "labels")
CHANNELS = (1, 3, 4)
ConditionKind = Literal["auto", "numbers", "embedding"]


def array(
    path: str,
    *,
    condition: str | None = None,
    condition_kind: ConditionKind = "auto",
    scale: ScaleChoice = "auto",
) -> InMemoryDataset:
    """Vectors or images of a NumPy file, .npy or .npz, with labels if the .npz file contains them.

    An array (N, d) contains vectors, (N, H, W) grey images, and (N, C, H, W) or (N, H, W, C) images of C = 1, 3 or 4
    channels. If both layouts are possible, channels come first. In a .npz file the items are the array `x`, `images`
    or `data`, or else the first array of numbers; the labels are the array `y` or `labels`, whole numbers from 0.

    A .npy file is memory-mapped and may be larger than the memory, because statistics are computed in chunks.

    Arguments:
        path: File, .npy or .npz.
        condition: Array on which items are conditioned instead of labels, as the name of an array in the .npz file or
            the path of a .npy file. It contains numbers (N,) or (N, d), embeddings (N, d), or sequences of embeddings
            (N, L, d).
        condition_kind: "numbers" standardizes each of the d numbers, "embedding" divides all of them by one number,
            and "auto" is "embedding" for more than 64 numbers per item and for sequences, else "numbers".
        scale: Map to the units of the model. For vectors, "columns" standardizes each column, "global" maps the range
            of all numbers to [-1, 1], "none" changes nothing, and "auto" is "global" if the columns seem to measure
            the same quantity, else "columns". For images, "global" maps the range of all numbers to [-1, 1], "none"
            changes nothing, and "auto" is "global" except that uint8 images with a value above 1 are mapped from
            0..255.
    Returns:
        Data set of vectors or images.
    Raises:
        InputError: If the file cannot be read, if it contains fewer than two items, or if a number is not finite.
    """
    items, labels, label_key = _load(path)
    source = os.path.basename(path)
    _check_items(items, source)
    units = vector_units(items, scale, source) if items.ndim == 2 else _image_units(items, scale, source)
    if condition is not None:
        rows, name = _load_condition(path, condition), f"condition '{condition}' of {source}"
        if condition_kind == "auto":
            condition_kind = "embedding" if rows.ndim == 3 or rows.ndim == 2 and rows.shape[1] > 64 else "numbers"
        if condition_kind == "embedding":
            return InMemoryDataset(items, units=units, conditions=check_embeddings(rows, len(items), name))
        return InMemoryDataset(items, units=units, conditions=check_conditions(rows, len(items), None, name))
    if labels is None:
        return InMemoryDataset(items, units=units)
    y, names = check_labels(labels, len(items), f"'{label_key}' in {source}")
    return InMemoryDataset(items, units=units, labels=y, classes=len(names), class_names=names)


def _load_condition(path: str, condition: str) -> np.ndarray:
    """Load the numbers of a condition from the .npz file of the items or from a .npy file."""
    try:
        if condition.endswith(".npy"):
            return np.asarray(np.load(condition, mmap_mode="r", allow_pickle=False))
        if path.endswith(".npy"):
            raise InputError(
                f"array:{path} has no named arrays: write the condition to another file, condition=FILE.npy"
            )
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if condition not in archive.files:
                raise InputError(unknown_name(f"array in {path}", condition, archive.files, "It contains"))
            return np.asarray(archive[condition])
    except InputError:
        raise
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"condition '{condition}' of array:{path} cannot be read ({error})") from error


def _load(path: str) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Load items, labels or None, and the name of the labels. Pickles are refused, so that no code is executed."""
    if not os.path.exists(path):
        raise InputError(f"array:{path}: no such file")
    if os.path.isdir(path):
        raise InputError(f"array:{path} is a folder; expected a .npy or .npz file. A folder of images is images:{path}")
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
    except OSError as error:
        raise InputError(f"array:{path} cannot be opened ({error.strerror})") from error
    if magic != b"\x93NUMPY" and magic[:2] != b"PK":
        raise InputError(f"array:{path} is neither a .npy nor a .npz file; write one with numpy.save or numpy.savez")
    try:
        if magic[:2] != b"PK":
            return np.load(path, mmap_mode="r", allow_pickle=False), None, ""
        # Opened here, because NumPy does not close a file that is not a zip file.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return _members(archive, path)
    except InputError:  # InputError is also a ValueError
        raise
    except (ValueError, OSError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        if "bject" in str(error):  # "Object arrays cannot be loaded", "Python objects in dtype"
            raise InputError(
                f"array:{path} contains Python objects; expected an array of numbers, not a list"
            ) from error
        raise InputError(f"array:{path} cannot be read ({error}); it may be incomplete: write it again") from error


def _members(archive: np.lib.npyio.NpzFile, path: str) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Return items and labels of a .npz file, without reading other arrays of objects."""
    label_key = next((key for key in LABEL_KEYS if key in archive.files), "")
    key = next((key for key in ITEM_KEYS if key in archive.files), "")
    items = archive[key] if key else _first_numbers(archive, label_key)
    if not isinstance(items, np.ndarray):  # a file in the zip file that is no array gives bytes
        names = ", ".join(archive.files[:8]) or "nothing"
        raise InputError(f"array:{path} contains no array of numbers; it contains {names}")
    return items, archive[label_key] if label_key else None, label_key


def _first_numbers(archive: np.lib.npyio.NpzFile, label_key: str) -> np.ndarray | None:
    """Return the first array of numbers with two or more axes. If there is none, return the first array of numbers.

    The error message for an array of a wrong shape then names the shape of this array.
    """
    fallback: np.ndarray | None = None
    for name in archive.files:
        try:
            values: object = archive[name]
        except ValueError:  # an array of objects, such as class names
            continue
        if name == label_key or not isinstance(values, np.ndarray) or values.dtype.kind not in "iufb":
            continue
        if values.ndim >= 2:
            return values
        fallback = values if fallback is None else fallback
    return fallback


def _check_items(items: np.ndarray, source: str) -> None:
    """Raise InputError unless items are (N, d), (N, H, W) or a four-dimensional array of real numbers with N >= 2."""
    if items.dtype.kind not in "iufb":
        raise InputError(f"{source}: numbers of type {items.dtype}; expected real numbers, such as float32 or uint8")
    if items.ndim not in (2, 3, 4):
        hint = " For one number an item use .reshape(-1, 1)." if items.ndim == 1 else ""
        raise InputError(
            f"{source}: an array of shape {items.shape}; expected vectors (N, d) or images (N, H, W), (N, C, H, W) or "
            f"(N, H, W, C).{hint}"
        )
    if items.size == 0:
        raise InputError(f"{source}: an empty array of shape {items.shape}; expected at least 2 items")
    if len(items) < 2:
        raise InputError(f"{source}: only one item, shape {items.shape}; expected (N, …) with N of at least 2")


def _image_units(items: np.ndarray, scale: ScaleChoice, source: str) -> Units:
    """Choose the layout and the pixel range of images (N, H, W) or of four dimensions."""
    if items.ndim == 3:
        layout = "hw"
    elif items.shape[1] in CHANNELS:
        layout = "same"
    elif items.shape[3] in CHANNELS:
        layout = "hwc"
    else:
        raise InputError(
            f"{source}: images of shape {items.shape} have no axis of 1, 3 or 4 channels; "
            "expected (N, C, H, W) or (N, H, W, C)"
        )
    if scale == "columns":
        raise InputError(f"{source}: scale 'columns' is for vectors (N, d), not for images {items.shape}; omit it")
    if scale == "auto" and items.dtype == np.uint8 and not _is_binary(items):
        return range_units(0.0, 255.0, layout, known=True)
    low, high = value_range(items, source)
    check_float32(low, high, source)
    if scale == "none":
        return Units(layout=layout, low=low, high=high)
    return range_units(low, high, layout, known=True)


def _is_binary(items: np.ndarray) -> bool:
    """Return whether uint8 images contain only 0 and 1, as masks do. Stop at the first chunk with another value."""
    step = max(1, CHUNK // int(np.prod(items.shape[1:])))
    return all(int(items[start : start + step].max()) <= 1 for start in range(0, len(items), step))
