"""Confidence intervals of means over items, and of estimates with few repetitions."""

from __future__ import annotations

import math
from typing import NamedTuple

import scipy.special
from torch import Tensor

from sdekit.errors import InputError


class MeanInterval(NamedTuple):
    """A mean over items with its standard error and confidence interval.

    Attributes:
        mean: Mean over the items.
        standard_error: Standard deviation of the items divided by sqrt(n); NaN for one item.
        low: Lower end of the interval; NaN for one item.
        high: Upper end of the interval; NaN for one item.
    """

    mean: float
    standard_error: float
    low: float
    high: float


def mean_interval(values: Tensor, confidence: float = 0.95) -> MeanInterval:
    """Return the mean over items with Student's interval, mean +- t_{n-1} s / sqrt(n).

    The items are the units: their spread contains the variation of the data and the errors of random probes, times
    and noise, which are independent for each item. The interval is that of the mean over all items of this kind, of
    which these are a random sample.

    Arguments:
        values: Values of the items, (n,).
        confidence: Probability that the interval contains the mean over all items, between 0 and 1.
    Returns:
        Mean, standard error and interval.
    Raises:
        InputError: If there are no items, or the confidence is out of range.
    Source:
        Student 1908.
    """
    if values.ndim != 1 or not len(values):
        raise InputError(f"mean_interval: expected values (n,), got shape {tuple(values.shape)}")
    n, values = len(values), values.double()
    mean, error = float(values.mean()), float(values.std()) / math.sqrt(n) if n > 1 else math.nan
    half = t_quantile(confidence, n - 1) * error
    return MeanInterval(mean, error, mean - half, mean + half)


def pooled_interval(values: Tensor, errors: Tensor, degrees: int, confidence: float = 0.95) -> MeanInterval:
    """Return the mean of given items with the interval that is due to the random errors of the items alone.

    The standard error of the mean is sqrt(sum of errors^2) / n. Each error is itself estimated from few values, so the
    interval has the effective degrees of freedom (sum of errors^2)^2 / sum(errors^4 / degrees).

    Arguments:
        values: Values of the items, (n,).
        errors: Standard error of each value, (n,); NaN if one is unknown.
        degrees: Degrees of freedom of each standard error.
        confidence: Probability that the interval contains the mean of the exact values of these items.
    Returns:
        Mean, standard error and interval.
    Source:
        Welch 1947; Satterthwaite 1946.
    """
    n, squares = len(values), errors.double().square()
    mean, error = float(values.double().mean()), float(squares.sum().sqrt()) / n
    if error == 0:  # exact values
        return MeanInterval(mean, error, mean, mean)
    effective = float(degrees * squares.sum() ** 2 / squares.square().sum())
    half = t_quantile(confidence, effective) * error
    return MeanInterval(mean, error, mean - half, mean + half)


def t_quantile(confidence: float, degrees: float) -> float:
    """Return the factor of a standard error that gives a two-sided confidence interval.

    Arguments:
        confidence: Probability of the interval, between 0 and 1.
        degrees: Degrees of freedom of the standard error: the number of independent values minus 1.
    Returns:
        Quantile of Student's t distribution at (1 + confidence) / 2; NaN without degrees of freedom.
    Raises:
        InputError: If the confidence is out of range.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be between 0 and 1, got {confidence:g}")
    return float(scipy.special.stdtrit(degrees, (1 + confidence) / 2)) if degrees > 0 else math.nan
