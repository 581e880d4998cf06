"""The objective of a training: what is built, which loss is minimised, and how the result is evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from sdekit.data import Batch, Dataset
from sdekit.runs import Recipe
from sdekit.training.monitoring.preview_schedule import PREVIEW_EVALUATIONS

Inputs = Sequence[Tensor | None]


class Objective(ABC):
    """Objective of a training.

    The trainer calls `build` and `start` once, then `inputs` and `loss` at each step, and `evaluate` and `preview` now
    and then.

    Everything random in `inputs` must be a function of (seed, step, index in the global batch), see
    `sdekit.training.step_seeds`. Then a run can be resumed exactly, also with another number of processes.

    Arguments:
        recipe: Recipe of the run.
    """

    preview_evaluations: int = PREVIEW_EVALUATIONS
    """Largest number of network evaluations per item of a preview. The trainer lowers it for short runs."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abstractmethod
    def build(self) -> nn.Module:
        """Build the module with fresh weights, drawn from the seed of the run."""

    def saved(self, module: nn.Module) -> nn.Module:
        """Return the part of the module whose weights are trained and saved; by default the module itself."""
        return module

    def start(self, module: nn.Module, data: Dataset, indices: np.ndarray) -> None:  # noqa: B027 (optional)
        """Compute what the loss needs to know about the training set; by default nothing.

        Arguments:
            module: The module of `build`, on the device of the training.
            data: Data set.
            indices: Indices of the items to train on.
        """

    @abstractmethod
    def inputs(self, batch: Batch, step: int, rows: slice) -> Inputs:
        """Prepare on the CPU what the loss of a step needs: data, times, noise, targets.

        Arguments:
            batch: The items of `rows`.
            step: Number of the step, from 0.
            rows: Rows of the global batch that this process computes.
        Returns:
            Tensors with one row per item, or None; the trainer passes them to `loss`.
        """

    @abstractmethod
    def loss(self, module: nn.Module, inputs: Inputs) -> Tensor:
        """Compute the loss of each item.

        Arguments:
            module: The module, in training or in evaluation mode.
            inputs: Result of `inputs`, on the CPU.
        Returns:
            Losses (B,) on the device of the module.
        """

    @abstractmethod
    def evaluate(self, module: nn.Module, data: Dataset, indices: np.ndarray) -> dict[str, Any]:
        """Evaluate the module on held-out data. The result is deterministic.

        Arguments:
            module: The module in evaluation mode, with averaged weights.
            data: Data set.
            indices: Indices of the held-out items; may be empty.
        Returns:
            Numbers, or tables of numbers, by name: a row of `metrics.jsonl`.
        """

    @property
    def preview_items(self) -> int:
        """Number of items in a preview, from which the trainer estimates its duration; 0 if this is unknown."""
        return 0

    def preview(self, module: nn.Module) -> bytes | None:
        """Draw a picture of the module's present output as a PNG file, or return None for no picture, the default.

        It uses at most `preview_evaluations` network evaluations per item, so that previews take little of the time.
        """
        return None

    def describe(self, step: int, index: int) -> str:
        """Describe item `index` of the global batch of a step, for the message about a loss that is not finite."""
        return ""
