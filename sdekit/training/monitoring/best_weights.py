"""Choice of the weights of a run by the held-out loss."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

CLOSE = 0.01
"""Relative difference of two held-out losses of a run that may be chance."""


class BestWeights:
    """Averaged weights of the last evaluation whose held-out loss was close to the smallest loss so far.

    A loss is close if it is at most 1% above the smallest one. All evaluations use the same items, noise levels and
    noise, so that their losses fluctuate little. Later weights are preferred among close ones, because the learning
    rate decays during a run.

    Attributes:
        step: Step of the weights, or None before the first evaluation.
        smallest: Smallest held-out loss so far, or infinity.
        tensors: The weights, on the CPU.
    """

    def __init__(self) -> None:
        self.step: int | None = None
        self.smallest = math.inf
        self.tensors: list[Tensor] = []

    def is_close(self, loss: float) -> bool:
        """Return whether a held-out loss is close to the smallest loss so far, or smaller."""
        return loss <= (1 + CLOSE) * self.smallest

    def update(self, step: int, loss: float, average: Iterable[Tensor]) -> None:
        """Replace the weights if the held-out loss of newer ones is close to the smallest loss.

        Arguments:
            step: Step of the newer weights.
            loss: Their held-out loss.
            average: The newer weights.
        """
        if not self.is_close(loss):
            return
        self.step, self.smallest = step, min(loss, self.smallest)
        self.tensors = [tensor.detach().to("cpu", copy=True) for tensor in average]
