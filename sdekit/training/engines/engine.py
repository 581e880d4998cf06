"""The interface between the trainer and the processes and devices that it runs on."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn


class Engine(Protocol):
    """Interface of the trainer to the processes and devices that run its steps. It uses only what is listed here.

    Attributes:
        device: Device of this process.
        rank: Number of this process; process 0 writes the run folder.
        world_size: Number of processes.
    """

    device: torch.device
    rank: int
    world_size: int

    def rows(self, batch_size: int) -> slice:
        """Return the rows of a global batch that this process computes.

        Arguments:
            batch_size: Size of the global batch.
        Raises:
            InputError: If the batch has fewer rows than there are processes.
        """

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return the module with its backward pass extended by the communication of gradients."""

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context manager for forward passes in the precision of the run."""

    def backward(self, losses: Tensor, batch_size: int) -> None:
        """Compute the gradient of the mean loss of the global batch, in all processes.

        Arguments:
            losses: Losses of the rows of this process.
            batch_size: Size of the global batch.
        """

    def clip_grad_norm(self, weights: Iterable[Tensor], largest: float) -> Tensor:
        """Scale the gradient to a norm of at most `largest`, and return its original norm, ()."""

    def gather(self, losses: Tensor, batch_size: int) -> Tensor:
        """Return the losses of the global batch (batch_size,) from the rows of all processes."""

    def agree(self, *values: float) -> tuple[float, ...]:
        """Return the maximum over all processes of each value."""

    def wait(self) -> None:
        """Wait until all processes call this method. Raises the error of another process if it failed before."""
