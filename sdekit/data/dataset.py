"""The base class of data sets, and the map between the units of the data and the units of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdekit.arguments import short_repr

from .quantiles import Curve, curve_log_volume, curve_to_data, curve_to_model

if TYPE_CHECKING:
    from .columns import Column

LABEL_BATCH = 1024
"""Number of items read at once by the default `Dataset.labels_of`."""
KINDS = ("vector", "sequence", "image", "volume")
"""Kinds of items by the number of their axes: (d,), (C, L), (C, H, W) and (C, D, H, W)."""
WITHOUT_CHANNELS = ("l", "hw", "dhw")
"""Layouts of items that have one channel and no axis for it."""
CHANNELS_LAST = ("lc", "hwc", "dhwc")
"""Layouts of items whose last axis contains the channels."""
LAYOUTS = ("same", *WITHOUT_CHANNELS, *CHANNELS_LAST)


@dataclass(frozen=True, kw_only=True)
class Units:
    """Map from the units of the data to the units of the model, model = (data - shift) / scale.

    Columns of a table may have increasing piecewise linear maps instead, see `sdekit.data.fit_curve`.

    Arguments:
        shift: One number, or one number for each feature of a vector or each channel of other items.
        scale: One number, or one number for each feature of a vector or each channel of other items.
        layout: Axes of an item in the data. "same" means the axes of the model, which begin with the channels. "hwc"
            means images with channels last, and "hw" images without an axis of channels, which are (1, H, W) in the
            model. "lc" and "l" mean the same for sequences, "dhwc" and "dhw" for volumes.
        low: Smallest possible value of the data, such as 0 for pixels, or None if it is unknown. Pictures of the data
            use it. Data are never clipped.
        high: Largest possible value of the data, or None if it is unknown.
        quantiles: Curve of each coordinate of a vector, or an empty tuple for a coordinate that is shifted and scaled.
            Empty if all coordinates are shifted and scaled.
    """

    shift: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    layout: str = "same"
    low: float | None = None
    high: float | None = None
    quantiles: tuple[Curve | tuple[()], ...] = ()

    def __repr__(self) -> str:
        return short_repr(self)

    def to_model(self, data: np.ndarray) -> Tensor:
        """Convert an array (B, *item) in units of the data to a float32 tensor (B, *shape) in units of the model."""
        return torch.from_numpy(np.ascontiguousarray(self.model_values(self.channels_first(data)), dtype=np.float32))

    def model_values(self, data: np.ndarray, positions: np.ndarray | float = 0.5) -> np.ndarray:
        """Convert data (B, *shape) with the axes of the model to units of the model, in float64.

        Arguments:
            data: Items.
            positions: Positions in (0, 1) of values that occur in many rows, () or (B, d); see `curve_to_model`.
        Returns:
            The converted items.
        """
        shift, scale = self.shift_and_scale(data.ndim - 1)
        values: np.ndarray = (data.astype(np.float64) - shift) / scale
        places = np.broadcast_to(positions, data.shape) if self.quantiles else None
        for i, curve in enumerate(self.quantiles):
            if curve and places is not None:
                values[:, i] = curve_to_model(data[:, i].astype(np.float64), curve, places[:, i])
        return values

    def data_values(self, x: np.ndarray) -> np.ndarray:
        """Convert items (B, *shape) from units of the model to units of the data, in float64 and in the same axes."""
        shift, scale = self.shift_and_scale(x.ndim - 1)
        values: np.ndarray = x.astype(np.float64) * scale + shift
        for i, curve in enumerate(self.quantiles):
            if curve:
                values[:, i] = curve_to_data(x[:, i].astype(np.float64), curve)
        return values

    def log_volume(self, data: np.ndarray) -> np.ndarray:
        """Return log |d model / d data| of items, which converts log-densities to the units of the data.

        Arguments:
            data: Items (B, *shape) with the axes of the model.
        Returns:
            Logarithms (B,), float64. See `curve_log_volume` for values that occur in many rows.
        """
        _, scale = self.shift_and_scale(data.ndim - 1)
        each = np.broadcast_to(-np.log(np.abs(scale)), data.shape).copy()
        for i, curve in enumerate(self.quantiles):
            if curve:
                each[:, i] = curve_log_volume(data[:, i].astype(np.float64), curve)
        return np.asarray(each.reshape(len(data), -1).sum(1))

    def to_data(self, x: Tensor) -> np.ndarray:
        """Convert a tensor (B, *shape) in units of the model to a float32 array (B, *item) in units of the data.

        float32 has a relative precision of 6e-8. Numbers around 1.7e9, such as seconds since 1970, are rounded to
        multiples of 128. Subtract an offset from such a column before training.
        """
        values = self.data_values(x.detach().cpu().double().numpy())
        if self.layout in WITHOUT_CHANNELS:
            values = values.squeeze(1)
        elif self.layout in CHANNELS_LAST:
            values = np.moveaxis(values, 1, -1)
        return np.ascontiguousarray(values, dtype=np.float32)

    def shift_and_scale(self, axes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return shift and scale for items in the axes of the model.

        Arguments:
            axes: Number of axes of an item.
        Returns:
            Shift and scale: arrays () if they are one number, or (C, 1, ...) with `axes` axes.
        """
        shift, scale = (
            array.reshape(-1, *[1] * (axes - 1)) if array.ndim else array
            for array in (np.asarray(self.shift), np.asarray(self.scale))
        )
        return shift, scale

    def channels_first(self, data: np.ndarray) -> np.ndarray:
        """Return a view of items in the layout of the data, (B, *item), with the axes of the model, (B, *shape)."""
        if self.layout in WITHOUT_CHANNELS:
            return data[:, None]
        return np.moveaxis(data, -1, 1) if self.layout in CHANNELS_LAST else data

    def model_shape(self, item: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in the model of an item that has the shape `item` in the data."""
        if self.layout in WITHOUT_CHANNELS:
            return (1, *item)
        return (item[-1], *item[:-1]) if self.layout in CHANNELS_LAST else item

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
        return cls(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    """Return a value with tuples in place of lists, at any depth."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def kind_of(shape: tuple[int, ...]) -> str:
    """Return the kind of items by their shape in the model.

    Arguments:
        shape: (d,) of vectors, (C, L) of sequences, (C, H, W) of images, or (C, D, H, W) of volumes.
    Returns:
        "vector", "sequence", "image" or "volume"; "vector" for other numbers of axes.
    """
    return KINDS[len(shape) - 1] if 1 <= len(shape) <= len(KINDS) else "vector"


class Batch(NamedTuple):
    """Items of a data set with their labels or conditions.

    Attributes:
        x: Items in the units of the model, (B, *shape) float32.
        y: Labels (B,), int64 in [0, classes). If the data set has `condition_units`, float32 conditions instead, which
            are numbers or embeddings (B, d) or sequences of embeddings (B, L, d). None if there are neither.
    """

    x: Tensor
    y: Tensor | None

    def __repr__(self) -> str:
        return f"Batch(x={tuple(self.x.shape)}, y={None if self.y is None else tuple(self.y.shape)})"


class Dataset(ABC):
    """Base class of data sets, which return items by index.

    A subclass sets the attributes `shape`, `kind` and `units`, and implements `__len__` and `batch`. Item i must always
    be the same, because order, split, batching and augmentation are part of training. `sdekit verify` checks these
    rules.

    Attributes:
        shape: Shape of one item in the model: (d,) for vectors, (C, L) for sequences, (C, H, W) for images, and
            (C, D, H, W) for volumes.
        kind: "vector", "sequence", "image" or "volume".
        units: Map between the units of the data and the units of the model.
        classes: Number of classes of the labels, or 0 if there are no labels.
        class_names: Name of each class, or empty.
        channel_names: Name of each channel of sequences, or empty.
        sample_rate: Number of values of a sequence per second, or None if it is not known.
        condition_names: Names of the numbers on which an item is conditioned instead of a label. Empty if there are no
            such numbers.
        condition_units: Units of the numbers or embeddings on which an item is conditioned, or None.
        condition_shape: Shape (d,) of an embedding, or (L, d) of a sequence of embeddings, on which an item is
            conditioned instead of a label. Embeddings have units but no names. Empty if there are no embeddings.
        columns: Columns of a table, which name the coordinates of its vectors. Empty for data that are not a table.
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
    channel_names: tuple[str, ...] = ()
    sample_rate: float | None = None
    condition_names: tuple[str, ...] = ()
    condition_units: Units | None = None
    condition_shape: tuple[int, ...] = ()
    columns: tuple[Column, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    concurrent: bool = False

    def __repr__(self) -> str:
        """Return one line: the number, the kind and the shape of the items."""
        classes = f", {self.classes} classes" if self.classes else ""
        return f"{type(self).__name__}({len(self)} items, {self.kind} {'x'.join(map(str, self.shape))}{classes})"

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
