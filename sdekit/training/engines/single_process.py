"""The engine of a training in one process."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


class SingleProcess:
    """Engine of one process on one device, without any communication.

    Arguments:
        device: Device of the training.
        precision: "fp32", or "bf16" for forward passes in bfloat16 where this is safe.
    """

    def __init__(self, device: torch.device, precision: str = "fp32") -> None:
        self.device, self.precision = device, precision
        self.rank, self.world_size = 0, 1

    def rows(self, batch_size: int) -> slice:
        """Return all rows."""
        return slice(0, batch_size)

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return the module itself."""
        return module

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context manager for forward passes in the precision of the run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def backward(self, losses: Tensor, batch_size: int) -> None:
        """Compute the gradient of the mean loss."""
        losses.mean().backward()

    def clip_grad_norm(self, weights: Iterable[Tensor], largest: float) -> Tensor:
        """Scale the gradient to a norm of at most `largest`, and return its original norm, ()."""
        return torch.nn.utils.clip_grad_norm_(weights, largest, foreach=True)

    def gather(self, losses: Tensor, batch_size: int) -> Tensor:
        """Return the losses themselves."""
        return losses

    def agree(self, *values: float) -> tuple[float, ...]:
        """Return the values themselves."""
        return values

    def wait(self) -> None:
        """Return at once."""
