"""Standard errors and intervals of any metric, from random halves of the samples and of the reference.

A bootstrap draws items twice, and distances between equal items are 0: it is biased for distances between samples.
Halves contain no item twice. For a random half A of the samples, a random half B of the reference and their complements
A', B', let

    d = v(A, B) - v(A', B'),    s = (v(A, B) + v(A', B')) / 2.

The two values are independent, so that E[d^2] = 2 Var(v of n/2) and, for a variance of order 1/n, E[d^2] / 4 = Var(v).
A U-statistic also has a variance of order 1/n^2, which dominates if both distributions are equal. E[d^2] / 4 counts it
twice, and Var(s) over the splits counts it once. Therefore

    Var(v) = E[d^2] / 4                 in general,
    Var(v) = E[d^2] / 4 - Var(s)        for U-statistics (`degenerate`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

CONFIDENCE = 0.95
"""Probability that an interval contains the expected value of the metric."""


def standard_error(
    statistic: Callable[[Tensor, Tensor], float],
    n: int,
    m: int,
    *,
    splits: int = 50,
    degenerate: bool = False,
    seed: int = 0,
) -> float:
    """Estimate the standard error of a statistic of n samples and m reference items.

    Arguments:
        statistic: Function of the indices of the chosen samples and of the chosen reference items.
        n: Number of samples, at least 2.
        m: Number of reference items, at least 2.
        splits: Number of random splits, at least 2.
        degenerate: Whether the variance is of order 1/n^2 if both distributions are equal.
        seed: Seed of the splits.
    Returns:
        The standard error.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = np.empty(splits), np.empty(splits)
    for i in range(splits):
        a, b = torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
        first[i] = statistic(a[: n // 2], b[: m // 2])
        second[i] = statistic(a[n // 2 : n // 2 * 2], b[m // 2 : m // 2 * 2])
    squares = float(((first - second) ** 2).mean()) / 4
    variance = squares
    if degenerate:
        variance = max(squares - float(((first + second) / 2).var(ddof=1)), squares / 4)
    return float(variance**0.5)


def interval(
    value: float, error: float, splits: int, *, n: int, low: float | None = None, high: float | None = None
) -> tuple[float, float]:
    """Return the 95% interval of a value: Student's t with as many degrees of freedom as there are splits.

    The interval of a share, from 0 to 1, is that of Wilson for the number of independent items that has this standard
    error, because the standard error of a share near 0 or 1 is too small.

    Arguments:
        value: Value of the metric.
        error: Its standard error.
        splits: Number of random splits from which the standard error was estimated.
        n: Number of samples.
        low: Smallest possible value, or None.
        high: Largest possible value, or None.
    Returns:
        Lower and upper end.
    """
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, splits))
    if (low, high) == (0.0, 1.0):
        spread = value * (1 - value)
        items = min(spread / error**2, n) if error > 0 and spread > 0 else n
        return wilson(value, items, quantile)
    ends = value - quantile * error, value + quantile * error
    return max(ends[0], low) if low is not None else ends[0], min(ends[1], high) if high is not None else ends[1]


def wilson(share: float, n: float, quantile: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's score interval of a share.

    Arguments:
        share: Share among n items, from 0 to 1.
        n: Number of independent items, which need not be whole.
        quantile: Quantile of the standardized error.
    Returns:
        Lower and upper end, from 0 to 1.
    Source:
        Wilson 1927.
    """
    square = quantile**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * (share * (1 - share) / n + square / (4 * n**2)) ** 0.5
    return max(middle - half, 0.0), min(middle + half, 1.0)
