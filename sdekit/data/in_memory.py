"""A data set in one array, in memory or memory-mapped. Only the requested rows are converted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .dataset import Batch, Dataset, Units, kind_of
from .labels import Conditions

if TYPE_CHECKING:
    from .columns import Column


class InMemoryDataset(Dataset):
    """Data set in one array, with labels, conditions or neither.

    Arguments:
        array: Items in the units of the data, (N, *item), of any real dtype. A memory map is not read as a whole.
        units: Map between the units of the data and the units of the model.
        labels: Labels (N,) int64 in [0, classes), or None.
        classes: Number of classes.
        class_names: Name of each class, or empty.
        columns: Columns of a table, or empty; see `sdekit.data.Column`.
        conditions: Numbers on which the items are conditioned, instead of labels.
    """

    def __init__(
        self,
        array: np.ndarray,
        *,
        units: Units,
        labels: np.ndarray | None = None,
        classes: int = 0,
        class_names: tuple[str, ...] = (),
        columns: tuple[Column, ...] = (),
        conditions: Conditions | None = None,
    ) -> None:
        self.array = array
        self.labels = labels
        self.units = units
        self.classes = classes
        self.class_names = class_names
        self.columns = columns
        self.conditions = conditions
        if conditions is not None:
            self.condition_names, self.condition_units = conditions.names, conditions.units
            self.condition_shape = () if conditions.names else tuple(conditions.array.shape[1:])
        self.shape = units.model_shape(tuple(int(size) for size in array.shape[1:]))
        self.kind = kind_of(self.shape)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.array)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Read the items at these indices: x (B, *shape) float32, and y (see `Batch`)."""
        rows = np.asarray(indices, dtype=np.int64)
        return Batch(self.units.to_model(np.asarray(self.array[rows])), self.labels_of(rows))

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """Return the labels or conditions at these indices, without reading the items."""
        rows = np.asarray(indices, dtype=np.int64)
        if self.conditions is not None:
            return self.conditions.units.to_model(np.asarray(self.conditions.array[rows]))
        return None if self.labels is None else torch.from_numpy(self.labels[rows])
