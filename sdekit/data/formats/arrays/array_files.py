"""Data sets of vectors, sequences, images or volumes in a NumPy file, .npy or .npz."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

import numpy as np

from sdekit.data.classes import whole_number
from sdekit.data.dataset import Units
from sdekit.data.description import listing
from sdekit.data.formats.regular_files import check_regular
from sdekit.data.in_memory import InMemoryDataset
from sdekit.data.labels import check_conditions, check_embeddings, check_labels
from sdekit.data.standardization import (
    CHUNK,
    ScaleChoice,
    check_float32,
    range_units,
    sequence_units,
    value_range,
    vector_units,
    volume_units,
)
from sdekit.errors import InputError

from .array_layout import SAMPLE, Axes, KindChoice, LayoutChoice, choose_axes
from .array_names import Choice, choose_arrays, parse_array_name
from .numpy_files import NpzFile, is_npz, read_npy

ConditionKind = Literal["auto", "numbers", "embedding"]

SHORTEST = 32
"""Smallest length of vectors that are examined for being sequences."""


def array(
    path: str,
    *,
    items: str | None = None,
    labels: str | None = None,
    condition: str | None = None,
    condition_kind: ConditionKind = "auto",
    scale: ScaleChoice = "auto",
    layout: LayoutChoice = "auto",
    kind: KindChoice = "auto",
) -> InMemoryDataset:
    """Vectors, sequences, images or volumes of a NumPy file, with labels if a .npz file contains them.

    An array (N, d) contains vectors, (N, C, L) or (N, L, C) sequences, (N, H, W) grey images, (N, C, H, W) or
    (N, H, W, C) images, and (N, C, D, H, W) or (N, D, H, W, C) volumes.

    An array of three axes (N, A, B) contains sequences if A or B is at most 4 or less than a quarter of the other, and
    grey images if A and B are more similar. It is refused if this contradicts its values. The channels of a sequence
    are the shorter one of its two axes. The channels of images and volumes are the first or the last axis of an item:
    the one with 1, 3 or 4 entries, or else the shorter one. If both have 1, 3 or 4 entries, channels come first. The
    attribute `notes` of the data set states the choice, and the options `kind` and `layout` change it.

    In a .npz file, items and labels are found by their usual names: `x` and `y`, `images` and `labels`, `data` and
    `target`, `x_train` and `y_train`, `train_images` and `train_labels`, or the default names `arr_0` and `arr_1`. The
    training split is used, never the test split. If several arrays may be the items, the file is refused with a list of
    its arrays. The labels of a file such as `x_train.npy` are read from a file `y_train.npy` beside it.

    Labels are whole numbers or text, one for each item, or one-hot rows. The classes are the values that occur.
    `target_names` or `class_names` name the classes of labels that are whole numbers from 0.

    A .npy file is memory-mapped and may be larger than the memory, because statistics are computed in chunks.

    Arguments:
        path: File, .npy or .npz.
        items: Name of the array of items in a .npz file.
        labels: Name of the array of labels in a .npz file, path of a .npy file of labels, or "none" for no labels.
        condition: Array on which items are conditioned instead of labels, as the name of an array in the .npz file or
            the path of a .npy file. It contains numbers (N,) or (N, d), embeddings (N, d), or sequences of embeddings
            (N, L, d).
        condition_kind: "numbers" standardizes each of the d numbers, "embedding" divides all of them by one number,
            and "auto" is "embedding" for more than 64 numbers per item and for sequences, else "numbers".
        scale: Map to the units of the model. For vectors, "columns" standardizes each column, "global" maps the range
            of all numbers to [-1, 1], "none" changes nothing, and "auto" is "global" if the columns seem to measure
            the same quantity, else "columns". For images, "global" maps the range of all numbers to [-1, 1], "none"
            changes nothing, and "auto" is "global" except that uint8 images with a value above 1 are mapped from
            0..255. For volumes, "auto" maps all numbers to mean 0 and standard deviation 1, because most voxels may be
            background, and "global" and "none" are as for images. For sequences, "auto" and "columns" standardize each
            channel.
        layout: Axes of the items: "channels-first" for (N, C, ...), "channels-last" for (N, ..., C), "grey" for images
            (N, H, W) without an axis of channels, or "auto".
        kind: Kind of the items: "vector" for (N, d), "sequence" for (N, L), (N, C, L) or (N, L, C), "image" for
            (N, H, W) or four axes, "volume" for (N, D, H, W) or five axes, or "auto" for the rule above.
    Returns:
        Data set of the items.
    Raises:
        InputError: If the file cannot be read, if it contains fewer than two items, if a number is not finite, or if
            several arrays may be the items.
    """
    labels = None if labels is None else os.path.expanduser(labels)
    loaded = _load(path, items, labels if condition is None else "none")
    default_names = loaded.label_name.startswith("arr_") and items is None
    return dataset_from_arrays(
        loaded,
        os.path.basename(path),
        condition=None if condition is None else _load_condition(path, condition),
        condition_name=condition or "",
        condition_kind=condition_kind,
        scale=scale,
        layout=layout,
        kind=kind,
        required=labels is not None or default_names and loaded.labels is not None and loaded.labels.ndim > 1,
    )


def dataset_from_arrays(
    loaded: LoadedArrays,
    source: str,
    *,
    condition: np.ndarray | None = None,
    condition_name: str = "",
    condition_kind: ConditionKind = "auto",
    scale: ScaleChoice = "auto",
    layout: LayoutChoice = "auto",
    kind: KindChoice = "auto",
    required: bool = False,
) -> InMemoryDataset:
    """Create a data set from arrays of a file or of a Python program.

    Arguments:
        loaded: Items, and their labels if there are any.
        source: Name of the file or object in messages.
        condition: Numbers (N,) or (N, d), embeddings (N, d), or sequences of embeddings (N, L, d) on which the items
            are conditioned instead of labels.
        condition_name: Name of the condition in messages.
        condition_kind: See `array`.
        scale: See `array`.
        layout: See `array`.
        kind: See `array`.
        required: Whether labels that cannot be used are an error. Otherwise they are left out, with a note.
    Returns:
        Data set of the items.
    Raises:
        InputError: If there are fewer than two items, if a number is not finite, or if an argument does not suit the
            items.
    """
    values = loaded.items
    _check_items(values, source)
    axes = choose_axes(values, kind, layout, source)
    note = axes.note
    if axes.kind == "vector":
        units = vector_units(values, scale, source)
        note += ", each column is standardized" if isinstance(units.scale, tuple) else ", one scale for all columns"
        note += _sequence_hint(values) if kind == "auto" else ""
    elif axes.kind == "sequence":
        units = sequence_units(values, scale, axes.layout, source)
    else:
        units = _image_units(values, axes, scale, source)
    loaded = loaded._replace(notes=(*loaded.notes, note))
    if condition is not None:
        rows, name = condition, f"condition '{condition_name}' of {source}"
        if condition_kind == "auto":
            condition_kind = "embedding" if rows.ndim == 3 or rows.ndim == 2 and rows.shape[1] > 64 else "numbers"
        if condition_kind == "embedding":
            conditions = check_embeddings(rows, len(values), name)
        else:
            conditions = check_conditions(rows, len(values), None, name)
        data = InMemoryDataset(values, units=units, conditions=conditions)
        data.notes = loaded.notes
        return data
    return _with_labels(loaded, units, source, required=required)


class LoadedArrays(NamedTuple):
    """Arrays of a data set.

    Attributes:
        items: Items (N, *item).
        labels: Labels, or None.
        label_name: Name of the labels in messages.
        class_names: Names of the classes, or None.
        notes: Sentences about how the arrays were chosen, see `Dataset`.
    """

    items: np.ndarray
    labels: np.ndarray | None
    label_name: str = ""
    class_names: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def _with_labels(loaded: LoadedArrays, units: Units, source: str, *, required: bool) -> InMemoryDataset:
    """Return the data set with its labels. Masks or vectors with the name of labels are left out, with a note."""
    data = InMemoryDataset(loaded.items, units=units)
    data.notes = loaded.notes
    if loaded.labels is None:
        return data
    n, name = len(loaded.items), f"'{loaded.label_name}' in {source}"
    one_each = loaded.labels.size == max(loaded.labels.shape, default=0)  # masks and vectors have more numbers
    try:
        data.labels, data.class_names = check_labels(loaded.labels, n, name)
    except InputError as error:
        if required or one_each:
            remedy = "" if required else "; --option data.labels=none trains without labels"
            raise InputError(f"{error}{remedy}") from None
        data.notes += (f"no labels were read ({error})",)
        return data
    data.class_names = _named(data.class_names, loaded.class_names)
    data.classes = len(data.class_names)
    return data


def _named(classes: tuple[str, ...], names: np.ndarray | None) -> tuple[str, ...]:
    """Return the names of classes that are whole numbers from 0, if there is a name for each of them."""
    if names is None or names.ndim != 1 or len(set(names.tolist())) < len(names):
        return classes
    numbers = [whole_number(name) for name in classes]
    if not all(number is not None and 0 <= number < len(names) for number in numbers):
        return classes
    texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in names.tolist()]
    return tuple(str(texts[int(name)]).strip() or name for name in classes)


def _load(path: str, items: str | None, labels: str | None) -> LoadedArrays:
    """Load the arrays of a file. Pickles are refused, so that no code is executed."""
    if os.path.isdir(path):
        raise InputError(f"array:{path} is a folder; expected a .npy or .npz file. A folder of images is images:{path}")
    check_regular(path, f"array:{path}", "a .npy or .npz file")
    try:
        zipped = is_npz(path)
    except OSError as error:
        raise InputError(f"array:{path} cannot be opened ({error.strerror})") from error
    if zipped is None:
        raise InputError(f"array:{path} is neither a .npy nor a .npz file; write one with numpy.save or numpy.savez")
    return _load_npz(path, items, labels) if zipped else _load_npy(path, items, labels)


def _load_npz(path: str, items: str | None, labels: str | None) -> LoadedArrays:
    """Load the items, the labels and the names of the classes of a .npz file. No other array is read."""
    source, file = os.path.basename(path), NpzFile(path, f"array:{path}")
    in_file = labels if labels is None or not labels.endswith(".npy") or labels in file.headers else "none"
    found_items = items is not None or any(parse_array_name(name).role == "items" for name in file.headers)
    for name, reason in file.others.items():
        if name in (items, in_file) or (not found_items and parse_array_name(name).role == "items"):
            raise InputError(f"{source}: {reason}")
    if not file.headers:
        raise InputError(
            f"array:{path} contains no array of numbers; it contains {listing(list(file.others)) or 'nothing'}"
        )
    choice = choose_arrays(file.headers, source, items=items, labels=in_file)
    notes = [*choice.notes, *_unreadable_labels(file, choice)]
    found, name = None, choice.labels or ""
    if labels is not None and in_file == "none" and labels != "none":
        found, name = read_npy(labels, f"labels {labels}"), labels
    elif choice.labels is not None:
        found = file.read(choice.labels)
    names = None if choice.names is None else file.read(choice.names)
    return LoadedArrays(file.read(choice.items), found, name, names, tuple(notes))


def _unreadable_labels(file: NpzFile, choice: Choice) -> list[str]:
    """Return a note about an array with the name of labels that cannot be read, if no other labels were found."""
    if choice.labels is not None:
        return []
    names = [name for name in file.others if parse_array_name(name).role == "labels"]
    return [f"no labels were read ({file.others[name]})" for name in names[:1]]


def _load_npy(path: str, items: str | None, labels: str | None) -> LoadedArrays:
    """Map the items of a .npy file, and read their labels from the file that was chosen or that is beside it."""
    if items is not None:
        raise InputError(f"array:{path} is a .npy file, which contains a single array: leave out data.items")
    values = read_npy(path, f"array:{path}")
    if labels == "none":
        return LoadedArrays(values, None, "", None, ())
    if labels is not None:
        return LoadedArrays(values, read_npy(labels, f"labels {labels}"), labels, None, ())
    beside = _labels_beside(path)
    if len(beside) != 1:
        several = f"no labels were read: {listing(beside)} may be labels; choose with --option data.labels=FILE"
        return LoadedArrays(values, None, "", None, (several,) if beside else ())
    try:
        found = read_npy(os.path.join(os.path.dirname(path), beside[0]), beside[0])
    except InputError as error:
        return LoadedArrays(values, None, "", None, (f"no labels were read ({error})",))
    return LoadedArrays(values, found, beside[0], None, (f"the labels are read from {beside[0]}",))


def _labels_beside(path: str) -> list[str]:
    """Return the names of .npy files beside the items that have the name of labels of the same split."""
    folder, name = os.path.split(path)
    own = parse_array_name(name.removesuffix(".npy"))
    if own.role != "items":
        return []
    others = sorted(other for other in os.listdir(folder or ".") if other.endswith(".npy") and other != name)
    return [other for other in others if parse_array_name(other.removesuffix(".npy")) == (own.split, "labels")]


def _load_condition(path: str, condition: str) -> np.ndarray:
    """Load the numbers of a condition from the .npz file of the items or from a .npy file."""
    if condition.endswith(".npy"):
        try:
            return read_npy(condition, condition)
        except InputError as error:
            raise InputError(f"condition '{condition}' of array:{path} cannot be read ({error})") from error
    if not is_npz(path):
        raise InputError(f"array:{path} has no named arrays: write the condition to another file, condition=FILE.npy")
    return NpzFile(path, f"array:{path}").read(condition)


def _check_items(items: np.ndarray, source: str) -> None:
    """Raise InputError unless items are an array of real numbers with two to five axes and N >= 2."""
    if items.dtype.kind not in "iufb":
        raise InputError(f"{source}: numbers of type {items.dtype}; expected real numbers, such as float32 or uint8")
    if items.ndim not in (2, 3, 4, 5):
        hint = " For one number an item use .reshape(-1, 1)." if items.ndim == 1 else ""
        raise InputError(
            f"{source}: an array of shape {items.shape}; expected vectors (N, d), sequences (N, C, L), images "
            f"(N, H, W) or (N, C, H, W), or volumes (N, C, D, H, W).{hint}"
        )
    if items.size == 0:
        raise InputError(f"{source}: an empty array of shape {items.shape}; expected at least 2 items")
    if len(items) < 2:
        raise InputError(f"{source}: only one item, shape {items.shape}; expected (N, …) with N of at least 2")


def _sequence_hint(items: np.ndarray) -> str:
    """Return a hint if neighbouring numbers of vectors are similar, as in sequences."""
    rows = np.asarray(items[:SAMPLE], np.float64)
    if rows.shape[1] < SHORTEST or items.dtype.kind != "f" or not np.isfinite(rows).all():
        return ""
    rows = rows - rows.mean(1, keepdims=True)
    similar = (rows[:, 1:] * rows[:, :-1]).sum() > 0.5 * np.square(rows).sum() > 0
    hint = "neighbouring numbers are similar: if they are in the order of time, --option data.kind=sequence"
    return f" ({hint} trains on sequences)" if similar else ""


def _image_units(items: np.ndarray, axes: Axes, scale: ScaleChoice, source: str) -> Units:
    """Choose the range of the values of images or volumes."""
    layout = axes.layout
    if scale == "columns":
        raise InputError(
            f"{source}: scale 'columns' is for vectors (N, d) and sequences (N, C, L), not for {axes.kind}s "
            f"{items.shape}; omit it"
        )
    if scale == "auto" and axes.kind == "volume":
        return volume_units(items, layout, source)
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
