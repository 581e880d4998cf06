"""Area under the ROC curve, with an interval that is valid near 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sdekit.errors import InputError


@dataclass(frozen=True)
class RocArea:
    """Result of `auroc`.

    Arguments:
        value: Area, the probability that a random outside item has a higher score than a random inside item.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


def auroc(inside: Tensor, outside: Tensor, *, confidence: float = 0.95) -> RocArea:
    """Compute the area under the ROC curve of a score, with a confidence interval.

    The area is the Mann-Whitney statistic, in which ties count one half. The interval contains the areas A with
    |value - A| <= z sqrt(V(A)), where V is the variance of Hanley & McNeil 1982 with N* = (n + m) / 2 - 1 in place of
    n - 1 and m - 1. It has a positive width if the value is 1.

    Arguments:
        inside: Scores of items that should be low, (n,).
        outside: Scores of items that should be high, (m,).
        confidence: Probability of the interval, between 0 and 1.
    Returns:
        The area and its interval.
    Raises:
        InputError: If there are no scores, or the confidence is out of range.
    Source:
        Newcombe 2006 ("Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2",
        method 5).
    """
    from scipy.optimize import brentq
    from scipy.stats import norm, rankdata

    n, m = len(inside), len(outside)
    if not n or not m or not 0 < confidence < 1:
        raise InputError(f"auroc: needs scores of both sets and a confidence in (0, 1), got {n}, {m}, {confidence}")
    ranks = rankdata(np.concatenate([inside.numpy(), outside.numpy()]))
    value = float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))
    z, extra = float(norm.ppf((1 + confidence) / 2)), (n + m) / 2 - 1

    def excess(area: float) -> float:
        inner = (1 - area) / (2 - area) + area / (1 + area)
        return float((value - area) ** 2 - z**2 * area * (1 - area) / (n * m) * (1 + extra * inner))

    near = 1e-9  # excess is also 0 at a value of exactly 0 or 1
    low = 0.0 if value == 0 else float(brentq(excess, 0, value - near))
    high = 1.0 if value == 1 else float(brentq(excess, value + near, 1))
    return RocArea(value, low, high)
