"""The base class of data sets, and the map between the units of the data and the units of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

LABEL_BATCH = 1024
"""Number of items read at once by the default `Dataset.labels_of`."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """Affine map from the units of the data to the units of the model, model = (data - shift) / scale.

    Arguments:
        shift: One number, or one number for each feature of a vector.
        scale: One number, or one number for each feature of a vector.
        layout: Axes of an item in the data. "same" means the axes of the model, "hw" grey images without a channel
            axis, which are (1, H, W) in the model, and "hwc" images with channels last, which are (C, H, W) in the
            model.
        low: Smallest possible value of the data, such as 0 for pixels, or None if it is unknown. Pictures of the data
            use it. Data are never clipped.
        high: Largest possible value of the data, or None if it is unknown.
    """

    shift: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    layout: str = "same"
    low: float | None = None
    high: float | None = None

    def to_model(self, data: np.ndarray) -> Tensor:
        """Convert an array (B, *item) in units of the data to a float32 tensor (B, *shape) in units of the model."""
        x = torch.from_numpy(((data - np.asarray(self.shift)) / np.asarray(self.scale)).astype(np.float32))
        if self.layout == "hw":
            return x.unsqueeze(1)
        return x.movedim(-1, 1).contiguous() if self.layout == "hwc" else x

    def to_data(self, x: Tensor) -> np.ndarray:
        """Convert a tensor (B, *shape) in units of the model to a float32 array (B, *item) in units of the data.

        float32 has a relative precision of 6e-8. Numbers around 1.7e9, such as seconds since 1970, are rounded to
        multiples of 128. Subtract an offset from such a column before training.
        """
        if self.layout == "hw":
            x = x.squeeze(1)
        elif self.layout == "hwc":
            x = x.movedim(1, -1)
        array = x.detach().cpu().double().numpy()
        return np.ascontiguousarray(array * np.asarray(self.scale) + np.asarray(self.shift), dtype=np.float32)

    @property
    def model_range(self) -> tuple[float, float] | None:
        """Smallest and largest possible value of the data in units of the model, or None if they are unknown."""
        if self.low is None or self.high is None or isinstance(self.shift, tuple) or isinstance(self.scale, tuple):
            return None
        return (self.low - self.shift) / self.scale, (self.high - self.shift) / self.scale

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Units:
        """Build units from the result of `as_dict`, which may have been written as JSON and read again."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


class Batch(NamedTuple):
    """Items of a data set with their labels or conditions.

    Attributes:
        x: Items in the units of the model, (B, *shape) float32.
        y: Labels (B,), int64 in [0, classes). If the data set has `condition_units`, float32 conditions instead, which
            are numbers or embeddings (B, d) or sequences of embeddings (B, L, d). None if there are neither.
    """

    x: Tensor
    y: Tensor | None


class Dataset(ABC):
    """Base class of data sets, which return items by index.

    A subclass sets the attributes `shape`, `kind` and `units`, and implements `__len__` and `batch`. Item i must always
    be the same, because order, split, batching and augmentation are part of training. `sdekit verify` checks these
    rules.

    Attributes:
        shape: Shape of one item in the model, (C, H, W) for images and (d,) for vectors.
        kind: "image" or "vector".
        units: Map between the units of the data and the units of the model.
        classes: Number of classes of the labels, or 0 if there are no labels.
        class_names: Name of each class, or empty.
        condition_names: Names of the numbers on which an item is conditioned instead of a label. Empty if there are no
            such numbers.
        condition_units: Units of the numbers or embeddings on which an item is conditioned, or None.
        condition_shape: Shape (d,) of an embedding, or (L, d) of a sequence of embeddings, on which an item is
            conditioned instead of a label. Embeddings have units but no names. Empty if there are no embeddings.
        skipped: Names of items that could not be read and were skipped.
        notes: Sentences about how the data were read, without a final point: properties that were inferred,
            conversions, and files that were left out. They are printed when a training starts, and the run records
            them.
        concurrent: Whether `batch` may run in several threads at once. If true, training reads batches ahead.
    """

    shape: tuple[int, ...]
    kind: str
    units: Units
    classes: int = 0
    class_names: tuple[str, ...] = ()
    condition_names: tuple[str, ...] = ()
    condition_units: Units | None = None
    condition_shape: tuple[int, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    concurrent: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items."""

    @abstractmethod
    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Read the items at these indices, in this order. An index may occur more than once."""

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """Return `batch(indices).y` for any number of indices.

        Override this method if the labels are known without reading the items.
        """
        batches = [self.batch(indices[start : start + LABEL_BATCH]).y for start in range(0, len(indices), LABEL_BATCH)]
        labels = [y for y in batches if y is not None]
        return torch.cat(labels) if labels else None
