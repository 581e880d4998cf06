"""A data set that lies in one array, in memory or memory-mapped: only the rows asked for are converted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .dataset import Batch, Dataset, Units
from .labels import Numbers


class InMemoryDataset(Dataset):
    """Rows of one array (N, *item) in the user's units, with labels (N,) or none.

    array: any real dtype; a memmap stays on disk. labels: (N,) int64 in [0, classes) or None.
    `columns` names the features of a table, and is empty elsewhere. conditions: numbers that take the labels' place.
    """

    def __init__(
        self,
        array: np.ndarray,
        *,
        units: Units,
        labels: np.ndarray | None = None,
        classes: int = 0,
        class_names: tuple[str, ...] = (),
        columns: tuple[str, ...] = (),
        conditions: Numbers | None = None,
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
        item = tuple(int(size) for size in array.shape[1:])
        self.kind = "vector" if len(item) == 1 else "image"
        self.shape = {"same": item, "hw": (1, *item), "hwc": (item[-1], *item[:-1])}[units.layout]

    def __len__(self) -> int:
        return len(self.array)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The rows at these indices: x (B, *shape) float32 in the model's units, y (B,) int64, (B, d) or None."""
        rows = np.asarray(indices, dtype=np.int64)
        return Batch(self.units.to_model(np.asarray(self.array[rows])), self.labels_of(rows))

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """See `Dataset.labels_of`; the rows are not read."""
        rows = np.asarray(indices, dtype=np.int64)
        if self.conditions is not None:
            return self.conditions.units.to_model(np.asarray(self.conditions.array[rows]))
        return None if self.labels is None else torch.from_numpy(self.labels[rows])
