"""Classes of a data set: the values that occur as labels, in their natural order and under their own names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .dataset import Batch, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]*)?(e[+-]?[0-9]{1,3})?|[+-]?(nan|inf|infinity)", re.IGNORECASE)

DIGITS = re.compile(r"([0-9]+)")


def whole_number(name: str) -> int | None:
    """Return the value of a name that is a whole number, or None for any other name.

    Arguments:
        name: Name of a class, such as "7", "-1", "007", "2.0" or "cat".
    Returns:
        The value, 7 for "007".
    """
    if not is_number(name):
        return None
    if name.lstrip("+-").isdigit():
        return int(name)
    return int(float(name)) if float(name).is_integer() else None


def is_number(name: str) -> bool:
    """Return whether a name is a decimal number, including nan and inf."""
    return NUMBER.fullmatch(name) is not None


def sort_names(names: Iterable[str]) -> tuple[str, ...]:
    """Sort the names of classes in their natural order, without repetitions.

    Whole numbers are sorted by value. Other names are sorted as text in which each group of digits counts as one
    number: "2" before "10", and "class2" before "class10".

    Arguments:
        names: Names of classes.
    Returns:
        Sorted distinct names.
    """
    distinct = sorted(set(names))
    values = [whole_number(name) for name in distinct]
    if None not in values:
        return tuple(name for _, name in sorted(zip(values, distinct, strict=True)))
    return tuple(sorted(distinct, key=_natural_key))


def _natural_key(name: str) -> list[str | int]:
    """Split a name into texts and numbers, which alternate, so that keys of any two names can be compared."""
    return [int(part) if i % 2 else part for i, part in enumerate(DIGITS.split(name))]


def number_names(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number the classes of items.

    If all names are whole numbers, equal values are one class, whatever their spelling ("1" and "1.0").

    Arguments:
        names: Name of the class of each item, at least one.
    Returns:
        Labels (N,) int64, and the name of each class that occurs, in the order of `sort_names`.
    """
    class_of = _merge_spellings(set(names))
    classes = sort_names(class_of.values())
    label_of = {name: label for label, name in enumerate(classes)}
    return np.array([label_of[class_of[name]] for name in names], dtype=np.int64), classes


def _merge_spellings(names: set[str]) -> dict[str, str]:
    """Return the class of each name: equal whole numbers are one class, and any other name is its own class."""
    spellings: dict[int, list[str]] = {}
    for name in names:
        value = whole_number(name)
        if value is None:
            return {name: name for name in names}
        spellings.setdefault(value, []).append(name)
    classes: dict[str, str] = {}
    for value, group in spellings.items():
        own = len(group) == 1 and group[0].lstrip("+-").isdigit()  # a single spelling is kept, such as 007
        classes |= {name: name if own else str(value) for name in group}
    return classes


def occurring_classes(labels: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Renumber labels so that every class occurs.

    Arguments:
        labels: Labels (N,) in [0, classes).
        names: Name of each class.
    Returns:
        Labels (N,) int64 and the names of the classes that occur, in the same order.
    """
    found, renumbered = np.unique(labels, return_inverse=True)
    return renumbered.astype(np.int64), tuple(names[label] for label in found.tolist())


def trained_labels(classes: int, untrained: Collection[int]) -> tuple[int, ...]:
    """Return the labels of classes with training items.

    Arguments:
        classes: Number of classes.
        untrained: Labels of the classes without training items.
    Returns:
        The other labels in [0, classes), in increasing order.
    """
    return tuple(label for label in range(classes) if label not in untrained)


def with_classes(data: Dataset, classes: int, names: Sequence[str]) -> Dataset:
    """Renumber the labels of a data set as in a run, which may have been trained by an earlier version.

    Versions before 0.3 sorted the names of folders as text, and the labels of arrays were the numbers themselves.

    Arguments:
        data: Data set.
        classes: Number of classes of the run.
        names: Names of the classes of the run, or empty.
    Returns:
        The same items with labels in [0, classes). The result is `data` itself if its labels are the same already, or
        if it has a class that the run does not have.
    """
    if (data.classes, data.class_names) == (classes, tuple(names)) or not (classes and data.classes):
        return data
    if names:
        position = {name: label for label, name in enumerate(names)}
        found = [position.get(name) for name in data.class_names]
    else:
        found = [whole_number(name) for name in data.class_names]
    known = [label for label in found if label is not None and 0 <= label < classes]
    if not data.class_names or len(known) < data.classes:
        return data
    return Relabelled(data, np.array(known, dtype=np.int64), classes, tuple(names))


class Relabelled(Dataset):
    """Items of a data set with other labels.

    Arguments:
        data: Data set.
        labels: New label of each class of the data set.
        classes: Number of classes.
        names: Names of the classes, or empty.
    """

    def __init__(self, data: Dataset, labels: np.ndarray, classes: int, names: tuple[str, ...]) -> None:
        self._data = data
        self._labels = torch.from_numpy(labels)
        self.shape, self.kind, self.units, self.concurrent = data.shape, data.kind, data.units, data.concurrent
        self.channel_names, self.sample_rate = data.channel_names, data.sample_rate
        self.columns = data.columns
        self.classes, self.class_names, self.notes, self.skipped = classes, names, data.notes, data.skipped

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._data)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Read the items at these indices, with their new labels."""
        batch = self._data.batch(indices)
        self.skipped = self._data.skipped
        return Batch(batch.x, self._renumber(batch.y))

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """Return the new labels at these indices."""
        return self._renumber(self._data.labels_of(indices))

    def _renumber(self, y: Tensor | None) -> Tensor | None:
        return None if y is None else self._labels[y]
