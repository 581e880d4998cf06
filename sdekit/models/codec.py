"""Codecs, which map data to latents and back, and encoders, which map texts to conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .conditioning import Condition


class Codec(Protocol):
    """Map between data in the model's units and the latents that the model denoises.

    Both functions work row by row, accept tensors on any device, and return tensors of the dtype and on the device of
    their input. The latents have about mean 0 and variance 1 in each channel.
    """

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one item of data, without the batch axis."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (B, *shape) of data x (B, *data_shape), without random numbers."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Return the data (B, *data_shape) of latents z (B, *shape), differentiable in z."""
        ...

    def to(self, device: torch.device | str, /) -> Any:
        """Move the weights to a device."""
        ...


class Encoder(Protocol):
    """Map from texts to the condition of a model.

    A text that is longer than the encoder accepts is cut, with a `PromptWarning` that quotes the part that is cut.
    """

    def __call__(self, texts: Sequence[str], /) -> Tensor | Condition:
        """Return the condition of each text, one row per text, in float32."""
        ...

    def to(self, device: torch.device | str, /) -> Any:
        """Move the weights to a device."""
        ...


class PromptWarning(UserWarning):
    """Warning that a part of a text does not reach the model."""
