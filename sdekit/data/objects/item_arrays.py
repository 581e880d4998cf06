"""Conversion of one item of a Python data set to an array, and its division into x and y."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from sdekit.arguments import describe_value
from sdekit.data.classes import sort_names
from sdekit.data.formats.arrays.array_names import parse_array_name
from sdekit.data.formats.image_decoding import GREY_MODES, convert_image
from sdekit.errors import InputError

DEEP_MODES = ("I", "F")
"""Modes of images that keep their numbers; the modes of 16 bits begin with "I" too."""


class Item(NamedTuple):
    """An item of a data set.

    Attributes:
        x: The item itself.
        y: Its label or condition, or None.
    """

    x: Any
    y: Any


def split_item(value: Any, source: str, column: str | None = None, label: str | None = None) -> Item:
    """Divide an item of a data set into x and y.

    Arguments:
        value: x itself, a tuple (x,) or (x, y), or a dictionary.
        source: Name of the data set in messages.
        column: Key of x in a dictionary; None for the only key with a usual name, such as "image" or "x".
        label: Key of y in a dictionary; "none" for no label, and None for the only key with the name of labels.
    Returns:
        x and y.
    Raises:
        InputError: If the value has another form, or if several keys may be x.
    """
    if isinstance(value, Mapping):
        return _split_mapping(value, source, column, label)
    if column is not None:
        raise InputError(f"{source}: column={column!r} is the key of a dictionary, but an item is {_describe(value)}")
    if isinstance(value, tuple) or (isinstance(value, list) and value and not isinstance(value[0], numbers.Real)):
        if len(value) not in (1, 2):
            raise InputError(
                f"{source}: an item has {len(value)} parts; expected x, (x,) or (x, y). Write a data set whose items "
                "are (x, y), or dictionaries, of which column='NAME' and label='NAME' choose x and y"
            )
        return Item(value[0], value[1] if len(value) == 2 and label != "none" else None)
    return Item(value, None)


def _split_mapping(value: Mapping[Any, Any], source: str, column: str | None, label: str | None) -> Item:
    """Divide a dictionary into x and y."""
    keys = ", ".join(map(str, value))
    for option, key in (("column", column), ("label", label)):
        if key is not None and key not in value and not (option == "label" and key == "none"):
            raise InputError(f"{source}: {option}={key!r} is no key of its items; the keys are {keys}")
    if label is None:
        found = [key for key in value if parse_array_name(str(key)).role == "labels" and key != column]
        label = found[0] if len(found) == 1 else "none"
    if column is None:
        others = [key for key in value if key != label]
        named = [key for key in others if parse_array_name(str(key)).role == "items" or key == "pixel_values"]
        chosen = named or others
        if len(chosen) != 1:
            raise InputError(
                f"{source}: several keys of an item may be x; choose one with column='NAME'. The keys are {keys}"
            )
        column = chosen[0]
    return Item(value[column], None if label == "none" else value[label])


def item_array(x: Any, source: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Convert an item to an array.

    Arguments:
        x: Tensor, array, image of Pillow, number or list of numbers.
        source: Name of the item in messages.
        size: Width and height to which an image of Pillow is resized, or None.
    Returns:
        Array; an image of Pillow gives (1, H, W) or (3, H, W), uint8, or float32 if it has 16 or 32 bits.
    Raises:
        InputError: If the item is no array of numbers.
    """
    if isinstance(x, Image.Image):
        try:
            deep = x.mode.startswith(DEEP_MODES)
            return convert_image(x, size, 1 if x.mode in GREY_MODES else 3, deep=deep)
        except (ValueError, OSError) as error:
            raise InputError(f"{source}: the image cannot be converted ({error})") from error
    if size is not None:
        raise InputError(f"{source}: size resizes images of Pillow, and this is {_describe(x)}: resize the arrays")
    if isinstance(x, torch.Tensor):
        return tensor_array(x, source)
    if isinstance(x, (np.ndarray, np.generic, numbers.Number, list, tuple)) or hasattr(x, "__array__"):
        return plain_array(x, source)
    raise InputError(
        f"{source} is {_describe(x)}; expected a tensor, an array, an image of Pillow, or a list of numbers"
    )


def tensor_array(x: torch.Tensor, source: str) -> np.ndarray:
    """Convert a dense tensor on any device to an array.

    Arguments:
        x: Tensor of any dtype; bfloat16 is converted to float32.
        source: Name of the tensor in messages.
    Returns:
        Array, which may share the memory of the tensor.
    Raises:
        InputError: If the tensor is sparse or quantized, or if it has no values.
    """
    if x.layout != torch.strided or x.is_quantized or x.device.type == "meta" or x.is_nested:
        kind = "quantized" if x.is_quantized else "on the device meta" if x.device.type == "meta" else "not dense"
        raise InputError(f"{source}: a tensor that is {kind}; expected a dense tensor of real numbers")
    x = x.detach().cpu().resolve_conj().resolve_neg()
    return (x.float() if x.dtype == torch.bfloat16 or "float8" in str(x.dtype) else x).numpy()


def plain_array(x: Any, source: str) -> np.ndarray:
    """Convert an array-like object of numbers to an array.

    Arguments:
        x: Array, number, or nested list of numbers.
        source: Name of the object in messages.
    Returns:
        Array, which may share the memory of x.
    Raises:
        InputError: If the object has ragged rows, missing values, or other values than numbers.
    """
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise InputError(f"{source}: a masked array with masked values; fill them in or remove these items")
        x = x.data
    try:
        array = np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{source} cannot be converted to an array ({error}); all rows need equal lengths") from error
    if array.dtype == object:
        raise InputError(
            f"{source}: an array of Python objects of shape {array.shape}; expected numbers. Rows of unequal lengths, "
            "None and texts cannot be items"
        )
    return array


def label_array(labels: list[Any], source: str) -> np.ndarray:
    """Collect the labels or conditions of all items in one array.

    Arguments:
        labels: Number, text, tensor or array for each item.
        source: Name of the data set in messages.
    Returns:
        Array (N, ...).
    Raises:
        InputError: If labels are missing, or have unequal shapes.
    """
    missing = [i for i, y in enumerate(labels) if y is None]
    if missing:
        raise InputError(f"{source}: item {missing[0]} has no label, and other items have one: remove such items")
    try:
        rows = [tensor_array(y, source) if isinstance(y, torch.Tensor) else np.asarray(y) for y in labels]
        array = np.stack(rows)
    except ValueError as error:
        shapes = ", ".join(sort_names({str(np.shape(row)) for row in rows})[:3])
        raise InputError(f"{source}: the labels of the items have unequal shapes ({shapes})") from error
    return array


def _describe(value: Any) -> str:
    """Describe a value in a message."""
    return "None" if value is None else describe_value(value)
