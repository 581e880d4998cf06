"""Features of images and of other items, from an extractor that a plugin provides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sdekit.arguments import describe_value
from sdekit.data import Units
from sdekit.errors import InputError

FEATURE_BATCH = 64
"""Number of items whose features are computed at once. It is fixed, so that results do not depend on --batch-size."""


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A function from items to features, and the form of the items that it expects.

    The fields after `extract` are applied in this order: units, range, channels, size.

    Arguments:
        name: Name in the titles of metrics, such as "digits-classifier". Results carry this name.
        extract: Function that maps items (B, *) in float32 to features (B, d).
        units: Units of the items that it expects, or None for those of the model.
        range: Smallest and largest possible value of a pixel that it expects, or None for that of the model.
        channels: Number of channels that it expects; grey images are repeated. None for any number.
        size: Height and width that it expects; images are resized (bilinear, antialiased). None for any size.
        shape: Shape of an item that it expects, or None for any shape.
        inception: Whether these are the features of the Inception network of FID. Only then are the distances called
            FID and KID.
        record: Facts for the protocol, such as the file and its checksum.
    """

    name: str
    extract: Callable[[Tensor], Tensor]
    units: Units | None = None
    range: tuple[float, float] | None = None
    channels: int | None = None
    size: tuple[int, int] | None = None
    shape: tuple[int, ...] | None = None
    inception: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """Return the extractor's entries of the protocol."""
        resize = None if self.size is None else f"to {self.size[1]}x{self.size[0]}, bilinear, antialiased"
        return {"name": self.name, "inception": self.inception, "resize": resize, "range": self.range, **self.record}


def as_extractor(value: Any, name: str) -> Extractor:
    """Return an extractor, made from a plain function (B, *) -> (B, d) if necessary.

    Arguments:
        value: Extractor or function.
        name: Name of a plain function.
    Returns:
        The extractor.
    Raises:
        InputError: If the value is neither.
    """
    if isinstance(value, Extractor):
        return value
    if not callable(value):
        raise InputError(f"features {name!r}: expected an Extractor or a function, got {describe_value(value)}")
    return Extractor(name=name, extract=value)


@torch.no_grad()
def extract_features(
    extractor: Extractor,
    x: Tensor,
    *,
    units: Units | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """Compute the features of items.

    Arguments:
        extractor: The extractor.
        x: Items (n, *shape) in the model's units.
        units: Units of the items, which an extractor with other units or a range needs.
        on_batch: Function that is called with the number of items of each batch, for progress.
    Returns:
        Features (n, d), float64 on the CPU.
    Raises:
        InputError: If the items do not fit the extractor, or if the features are not finite numbers (n, d).
    """
    if extractor.shape is not None and tuple(x.shape[1:]) != tuple(extractor.shape):
        raise InputError(
            f"features {extractor.name}: expected items of shape {tuple(extractor.shape)}, got {tuple(x.shape[1:])}"
        )
    parts: list[Tensor] = []
    for batch in x.split(FEATURE_BATCH):
        features = extractor.extract(_as_expected(extractor, batch.float(), units or Units()))
        _check(extractor, features, len(batch), parts[0].shape[1] if parts else None)
        parts.append(features.detach().cpu().double())
        if on_batch is not None:
            on_batch(len(batch))
    return torch.cat(parts)


def _as_expected(extractor: Extractor, x: Tensor, units: Units) -> Tensor:
    """Convert items in units of the model to the units, range, channels and size that an extractor expects."""
    if extractor.units is not None and extractor.units != units:
        x = extractor.units.to_model(units.to_data(x))
    if extractor.range is not None:
        known = units.model_range
        if known is None:
            raise InputError(f"features {extractor.name}: the range of the data is unknown, so pixels cannot be scaled")
        low, high = extractor.range
        x = ((x - known[0]) / (known[1] - known[0])).clamp(0, 1) * (high - low) + low
    if (extractor.channels or extractor.size) and x.ndim != 4:
        raise InputError(f"features {extractor.name}: expected images, got items of shape {tuple(x.shape[1:])}")
    if extractor.channels is not None and x.shape[1] != extractor.channels:
        if x.shape[1] != 1:
            raise InputError(
                f"features {extractor.name}: expected images of {extractor.channels} channels, got {x.shape[1]}"
            )
        x = x.expand(-1, extractor.channels, -1, -1)
    if extractor.size is not None and tuple(x.shape[2:]) != tuple(extractor.size):
        x = F.interpolate(x, size=extractor.size, mode="bilinear", antialias=True, align_corners=False)
    return x


def _check(extractor: Extractor, features: Any, n: int, d: int | None) -> None:
    """Raise InputError unless features are finite numbers (n, d)."""
    if (
        not isinstance(features, Tensor)
        or features.ndim != 2
        or len(features) != n
        or d not in (None, features.shape[1])
    ):
        got = tuple(features.shape) if isinstance(features, Tensor) else describe_value(features)
        raise InputError(f"features {extractor.name}: expected features ({n}, {d or 'd'}), got {got}")
    if not features.shape[1] or not bool(features.isfinite().all()):
        raise InputError(f"features {extractor.name}: the features contain numbers that are not finite, or are empty")
