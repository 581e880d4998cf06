"""Standard errors and intervals of any metric, from random halves of the samples and of the reference.

A bootstrap draws items twice, and distances between equal items are 0: it is biased for distances between samples.
Halves contain no item twice. For a random half A of the samples, a random half B of the reference and their complements
A', B', the values v(A, B) and v(A', B') are independent and have twice the variance of v, so that

    Var(v) = E[(v(A, B) - v(A', B'))^2] / 4.

If both distributions are equal, the variance of a squared distance is of order 1/n^2, not 1/n, and the formula gives
twice the variance. This makes up for the skewness of such values in few dimensions; in many dimensions the interval is
then too long by a factor of up to 2^(1/2). benchmarks/results/coverage.md has the measured coverage.
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
    seed: int = 0,
) -> float:
    """Estimate the standard error of a statistic of n samples and m reference items.

    Arguments:
        statistic: Function of the indices of the chosen samples and of the chosen reference items.
        n: Number of samples, at least 2.
        m: Number of reference items, at least 2.
        splits: Number of random splits, at least 2.
        seed: Seed of the splits.
    Returns:
        The standard error.
    """
    generator, squares = torch.Generator().manual_seed(seed), np.empty(splits)
    for i in range(splits):
        a, b = torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
        first = statistic(a[: n // 2], b[: m // 2])
        squares[i] = (first - statistic(a[n // 2 : n // 2 * 2], b[m // 2 : m // 2 * 2])) ** 2
    return float((squares.mean() / 4) ** 0.5)


def interval(
    value: float,
    error: float,
    splits: int,
    *,
    n: int,
    low: float | None = None,
    high: float | None = None,
    squared: bool = False,
) -> tuple[float, float]:
    """Return the 95% interval of a value: Student's t with as many degrees of freedom as there are splits.

    The interval of a share, from 0 to 1, is that of Wilson for the number of independent items that has this standard
    error, because the standard error of a share near 0 or 1 is too small. The upper end of a squared distance v is that
    of an interval of its root, (v^(1/2) + q e / (2 v^(1/2)))^2, because squared distances are skewed.

    Arguments:
        value: Value of the metric.
        error: Its standard error.
        splits: Number of random splits from which the standard error was estimated.
        n: Number of samples.
        low: Smallest possible value, or None.
        high: Largest possible value, or None.
        squared: Whether the value is a squared distance.
    Returns:
        Lower and upper end.
    """
    quantile = float(student.ppf((1 + CONFIDENCE) / 2, splits))
    if (low, high) == (0.0, 1.0):
        spread = value * (1 - value)
        items = min(spread / error**2, n) if error > 0 and spread > 0 else n
        return wilson(value, items, quantile)
    reach = quantile * error
    ends = value - reach, value + reach
    if squared and value > 0:
        ends = ends[0], ends[1] + min(reach**2 / (4 * value), value / 4)
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
    return (max(middle - half, 0.0) if share > 0 else 0.0), (min(middle + half, 1.0) if share < 1 else 1.0)
