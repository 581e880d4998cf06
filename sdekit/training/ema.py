"""Exponential moving average of the weights whose length grows with training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor


@cache
def gamma(length: float) -> float:
    """The exponent whose average has the relative standard deviation `length` (Karras et al. 2024, Algorithm 2)."""
    a = length**-2
    return float(np.roots([1, 7, 16 - a, 12 - a]).real.max())


class EMA:
    """average <- beta average + (1 - beta) weights, beta = (1 - 1/step)^(gamma + 1): the power-function average.

    It forgets the start by itself and needs no horizon. length: standard deviation of the average relative to the
    steps so far; 0 is no average. Source: Karras et al. 2024, section 3.1.
    """

    def __init__(self, weights: Iterable[Tensor], length: float) -> None:
        self.length = length
        self.average = [w.detach().clone() for w in weights]

    @torch.no_grad()
    def update(self, weights: Iterable[Tensor], step: int) -> None:
        """Take in the weights after step `step`, counted from 1."""
        beta = (1 - 1 / step) ** (gamma(self.length) + 1) if self.length else 0.0
        torch._foreach_lerp_(self.average, [w.detach() for w in weights], 1 - beta)

    @contextmanager
    def swapped(self, weights: Iterable[Tensor]) -> Iterator[None]:
        """Within it the weights are the averaged ones."""
        pairs = list(zip(weights, self.average, strict=True))
        self._swap(pairs)
        try:
            yield
        finally:
            self._swap(pairs[::-1])  # the last first, since weights may share their memory

    @torch.no_grad()
    def _swap(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        for weight, average in pairs:
            held = weight.clone()
            weight.copy_(average)
            average.copy_(held)
