"""NumPy files: vectors or images in one .npy or .npz."""

from __future__ import annotations

import os
import zipfile
import zlib

import numpy as np

from sdekit.data import (
    CHUNK,
    InMemoryDataset,
    ScaleChoice,
    Units,
    check_float32,
    check_labels,
    check_numbers,
    range_units,
    value_range,
    vector_units,
)
from sdekit.errors import InputError
from sdekit.registry import unknown_name

ITEM_KEYS = ("x", "images", "data")
LABEL_KEYS = ("y", "labels")
CHANNELS = (1, 3, 4)


def array(path: str, *, condition: str | None = None, scale: ScaleChoice = "auto") -> InMemoryDataset:
    """Vectors or images from a .npy file (memory-mapped) or a .npz file (with labels, if it has any).

    (N, d) are vectors; (N, H, W) grey images; (N, C, H, W) and (N, H, W, C) images of C = 1, 3 or 4 channels, where
    channels come first if both readings fit. In a .npz the items are `x`, `images`, `data` or else the first array
    of numbers, and the labels `y` or `labels`, whole numbers from 0.
    condition: numbers (N,) or (N, d) that items are conditioned on: a name in the .npz, or a .npy file of their own.
    scale, for vectors: "columns" standardises each column, "global" takes the range of all numbers to [-1, 1],
    "none" leaves them, "auto" is "global" if the columns look like one quantity, else "columns".
    scale, for images: "auto" takes 0..255 to [-1, 1] for uint8 (0..1 if nothing is above 1), and the range of all
    numbers for another type, as "global" does for every type; "none" leaves them.
    Statistics are gathered in chunks: a file larger than the memory is fine.
    Raises InputError for a file that cannot be read, and for items that are not two or more arrays of finite numbers.
    """
    items, labels, label_key = _load(path)
    where = os.path.basename(path)
    _check_items(items, where)
    units = vector_units(items, scale, where) if items.ndim == 2 else _image_units(items, scale, where)
    if condition is not None:
        told = check_numbers(_numbers(path, condition), len(items), None, f"condition '{condition}' of {where}")
        return InMemoryDataset(items, units=units, conditions=told)
    if labels is None:
        return InMemoryDataset(items, units=units)
    y, classes = check_labels(labels, len(items), f"'{label_key}' in {where}")
    return InMemoryDataset(items, units=units, labels=y, classes=classes)


def _numbers(path: str, condition: str) -> np.ndarray:
    """The numbers to condition on, from the .npz of the items or a .npy file."""
    try:
        if condition.endswith(".npy"):
            return np.asarray(np.load(condition, mmap_mode="r", allow_pickle=False))
        if path.endswith(".npy"):
            raise InputError(f"array:{path} has no names: put its condition into a .npy file, condition=FILE.npy")
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if condition not in archive.files:
                raise InputError(unknown_name(f"array in {path}", condition, archive.files, "It holds"))
            return np.asarray(archive[condition])
    except InputError:
        raise
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"condition '{condition}' of array:{path} cannot be read ({error})") from error


def _load(path: str) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Items, labels (or None) and the labels' key. Nothing in the file is executed: pickles are refused."""
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
        # Opened here, because numpy leaves a file open that turns out to be no zip.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return _members(archive, path)
    except InputError:  # a ValueError too, and it says what is wrong already
        raise
    except (ValueError, OSError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        if "bject" in str(error):  # "Object arrays cannot be loaded", "Python objects in dtype"
            raise InputError(f"array:{path} holds Python objects; expected an array of numbers, not a list") from error
        raise InputError(f"array:{path} cannot be read ({error}); is it complete? Write it again") from error


def _members(archive: np.lib.npyio.NpzFile, path: str) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Items and labels of a .npz; arrays of no interest that hold objects are left unread."""
    label_key = next((key for key in LABEL_KEYS if key in archive.files), "")
    key = next((key for key in ITEM_KEYS if key in archive.files), "")
    items = archive[key] if key else _first_numbers(archive, label_key)
    if not isinstance(items, np.ndarray):  # a zip of other files yields bytes
        held = ", ".join(archive.files[:8]) or "nothing"
        raise InputError(f"array:{path} holds no array of numbers; it holds {held}")
    return items, archive[label_key] if label_key else None, label_key


def _first_numbers(archive: np.lib.npyio.NpzFile, label_key: str) -> np.ndarray | None:
    """The first array of numbers that can be items; else the first at all, for the message it will give."""
    fallback: np.ndarray | None = None
    for name in archive.files:
        try:
            found: object = archive[name]
        except ValueError:  # objects, such as names of classes
            continue
        if name == label_key or not isinstance(found, np.ndarray) or found.dtype.kind not in "iufb":
            continue
        if found.ndim >= 2:
            return found
        fallback = found if fallback is None else fallback
    return fallback


def _check_items(items: np.ndarray, where: str) -> None:
    """Raise InputError unless items are (N, d), (N, H, W) or (N, ., ., .) real numbers with N >= 2."""
    if items.dtype.kind not in "iufb":
        raise InputError(f"{where}: numbers of type {items.dtype}; expected real numbers, such as float32 or uint8")
    if items.ndim not in (2, 3, 4):
        more = " One number an item is a column: .reshape(-1, 1)." if items.ndim == 1 else ""
        raise InputError(
            f"{where}: an array of shape {items.shape}; expected vectors (N, d) or images (N, H, W), (N, C, H, W) or "
            f"(N, H, W, C).{more}"
        )
    if items.size == 0:
        raise InputError(f"{where}: an empty array, of shape {items.shape}; there is nothing to learn from")
    if len(items) < 2:
        raise InputError(f"{where}: one item only, shape {items.shape}; expected (N, …) with N of at least 2")


def _image_units(items: np.ndarray, scale: ScaleChoice, where: str) -> Units:
    """Layout and pixel range of (N, H, W) or four-dimensional items."""
    if items.ndim == 3:
        layout = "hw"
    elif items.shape[1] in CHANNELS:
        layout = "same"
    elif items.shape[3] in CHANNELS:
        layout = "hwc"
    else:
        raise InputError(
            f"{where}: images of shape {items.shape} have no axis of 1, 3 or 4 channels; "
            "expected (N, C, H, W) or (N, H, W, C)"
        )
    if scale == "columns":
        raise InputError(f"{where}: scale 'columns' is for vectors (N, d), not for images {items.shape}; leave it out")
    if scale == "auto" and items.dtype == np.uint8 and not _is_binary(items):
        return range_units(0.0, 255.0, layout, known=True)
    low, high = value_range(items, where)
    check_float32(low, high, where)
    if scale == "none":
        return Units(layout=layout, low=low, high=high)
    return range_units(low, high, layout, known=True)


def _is_binary(items: np.ndarray) -> bool:
    """Whether uint8 images hold nothing above 1: masks, which 0..255 would press into a hundredth of the range.

    Real pixels answer in the first chunk."""
    step = max(1, CHUNK // int(np.prod(items.shape[1:])))
    return all(int(items[start : start + step].max()) <= 1 for start in range(0, len(items), step))
