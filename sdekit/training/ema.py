"""Exponential moving average of the weights, over a length that grows with training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor


@cache
def gamma(length: float) -> float:
    """Return the exponent that gives the average the relative standard deviation `length`.

    Arguments:
        length: Standard deviation relative to the number of steps, between 0 and 0.25.
    Returns:
        gamma, at least 0.
    Source:
        Karras et al. 2024, Algorithm 2.
    """
    a = length**-2
    return float(np.roots([1, 7, 16 - a, 12 - a]).real.max())


class EMA:
    """Exponential moving average of weights with a power-function profile.

    average <- beta average + (1 - beta) weights, with beta = (1 - 1/step)^(gamma + 1). The length of the average grows
    with the training, so that it needs no horizon and the first steps lose their influence.

    Arguments:
        weights: Weights to average. Their present values are the first average.
        length: Standard deviation of the average relative to the number of steps so far; 0 for no average.
    Source:
        Karras et al. 2024, section 3.1.
    """

    def __init__(self, weights: Iterable[Tensor], length: float) -> None:
        self.length = length
        self.average = [w.detach().clone() for w in weights]

    @torch.no_grad()
    def update(self, weights: Iterable[Tensor], step: int) -> None:
        """Add the weights after step `step`, counted from 1, to the average."""
        beta = (1 - 1 / step) ** (gamma(self.length) + 1) if self.length else 0.0
        torch._foreach_lerp_(self.average, [w.detach() for w in weights], 1 - beta)


@contextmanager
def swapped(weights: Iterable[Tensor], others: Iterable[Tensor]) -> Iterator[None]:
    """Context manager that exchanges the weights and other values of them, such as their averages.

    Arguments:
        weights: Weights of a network.
        others: Other values, in the same order.
    """
    pairs = list(zip(weights, others, strict=True))
    _swap(pairs)
    try:
        yield
    finally:
        _swap(pairs[::-1])  # in reverse, because weights may share memory


@torch.no_grad()
def _swap(pairs: list[tuple[Tensor, Tensor]]) -> None:
    for weight, other in pairs:
        previous = weight.clone()
        weight.copy_(other)
        other.copy_(previous)
