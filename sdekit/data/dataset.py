"""What every data set is: items by index, and how to get from the user's units to the model's and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

PART = 1024  # items that are read at once where only their labels are wanted


@dataclass(frozen=True, kw_only=True)
class Units:
    """The affine map between the user's units and the model's: model = (data - shift) / scale.

    shift, scale: one number for all, or one for each feature of a vector (length d).
    layout: how one item lies in the user's arrays: "same" as the model's shape, "hw" (grey images without a
    channel axis; the model sees (1, H, W)) or "hwc" (channels last; the model sees (C, H, W)).
    low, high: the range of the data where it is known (pixels), else None: for drawing, never for clipping.
    """

    shift: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    layout: str = "same"
    low: float | None = None
    high: float | None = None

    def to_model(self, data: np.ndarray) -> Tensor:
        """User's array (B, *item) to a float32 tensor (B, *shape) in the model's units."""
        x = torch.from_numpy(((data - np.asarray(self.shift)) / np.asarray(self.scale)).astype(np.float32))
        if self.layout == "hw":
            return x.unsqueeze(1)
        return x.movedim(-1, 1).contiguous() if self.layout == "hwc" else x

    def to_data(self, x: Tensor) -> np.ndarray:
        """Inverse of `to_model`: tensor (B, *shape) to a float32 array (B, *item) in the user's units.

        float32 tells 1 in 16 million: of numbers around 1.7e9 (seconds since 1970) it keeps every 128th. Where that is
        too coarse, take the start off such a column before training.
        """
        if self.layout == "hw":
            x = x.squeeze(1)
        elif self.layout == "hwc":
            x = x.movedim(1, -1)
        array = x.detach().cpu().double().numpy()
        return np.ascontiguousarray(array * np.asarray(self.scale) + np.asarray(self.shift), dtype=np.float32)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready fields; `Units.from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Units:
        """Read what `as_dict` wrote (lists become tuples)."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**values)


class Batch(NamedTuple):
    """x: (B, *shape) float32 in the model's units. y: what belongs to each item, or None.

    That is (B,) int64 labels in [0, classes), or (B, d) float32 numbers where the data set has `condition_units`.
    """

    x: Tensor
    y: Tensor | None


class Dataset(ABC):
    """Items by index; nothing is random here. Order, split and batching are the caller's.

    shape: one item as the model sees it, (C, H, W) for images and (d,) for vectors.
    kind: "image" or "vector". classes: number of labels, 0 where there are none.
    condition_names, condition_units: of numbers that belong to each item in place of a label; empty and None where
    there are none.
    """

    shape: tuple[int, ...]
    kind: str
    units: Units
    classes: int = 0
    class_names: tuple[str, ...] = ()
    condition_names: tuple[str, ...] = ()
    condition_units: Units | None = None
    skipped: tuple[str, ...] = ()  # items that could not be read and were passed over
    concurrent: bool = False  # whether `batch` may run in several threads at once: training then reads ahead

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The items at these indices, in this order, as (B, *shape) and (B,)."""

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """`batch(indices).y` of any number of items. A data set that knows it without reading them says so here."""
        read = [self.batch(indices[start : start + PART]).y for start in range(0, len(indices), PART)]
        known = [y for y in read if y is not None]
        return torch.cat(known) if known else None
