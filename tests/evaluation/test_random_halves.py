"""Intervals from random halves contain the expected value in about 95% of all repetitions."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from sdekit.evaluation import interval, standard_error, wilson
from sdekit.registry import build


def normal(n: int, seed: int, shift: float = 0.0) -> Tensor:
    """Draw n points on the line."""
    return torch.randn(n, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def test_the_standard_error_of_a_mean() -> None:
    """For a difference of means the standard error is (1/n + 1/m)^(1/2), also for odd numbers."""
    x, y = normal(201, 0), normal(99, 1)
    error = standard_error(lambda a, b: float(x[a].mean() - y[b].mean()), 201, 99, splits=400)
    assert error == pytest.approx((1 / 201 + 1 / 99) ** 0.5, rel=0.15)


def test_coverage_of_the_energy_distance() -> None:
    """92% to 98% of the intervals of 200 repetitions contain the exact distance of N(0.7, 1) and N(0, 1)."""
    metric, n, splits, shift = build("metric", "energy"), 100, 20, 0.7
    normal_01, u = torch.distributions.Normal(0.0, 1.0), torch.tensor(shift / 2**0.5)
    # x - y is N(shift, 2): its mean absolute value is that of a folded Gaussian; E|x - x'| = 2 / pi^(1/2).
    mean = 2**0.5 * (2 * normal_01.log_prob(u).exp() + u * (2 * normal_01.cdf(u) - 1))
    exact = float(2 * mean - 4 / torch.pi**0.5)
    inside = 0
    for i in range(200):
        x, y = normal(n, 2 * i, shift), normal(n, 2 * i + 1)
        error = standard_error(lambda a, b, x=x, y=y: metric(x[a], y[b]), n, n, splits=splits, seed=i)  # type: ignore[misc]
        low, high = interval(metric(x, y), error, splits, n=n, squared=True)
        inside += low <= exact <= high
    assert 0.92 <= inside / 200 <= 0.98


def test_shares() -> None:
    """Wilson's interval is scipy's, and the interval of a share without any spread is not empty."""
    expected = binomtest(3, 40).proportion_ci(method="wilson")
    assert wilson(3 / 40, 40) == pytest.approx((expected.low, expected.high))
    low, high = interval(1.0, 0.0, 50, n=40, low=0.0, high=1.0)
    assert 0.8 < low < 1 and high == 1.0
    low, high = interval(0.5, 0.1, 50, n=40, low=0.0, high=1.0)
    assert low == pytest.approx(0.31, abs=0.02) and high == pytest.approx(0.69, abs=0.02)


def test_limits() -> None:
    """An interval does not contain impossible values, and that of a squared distance is longer upwards."""
    assert interval(0.1, 1.0, 50, n=10, low=0.0)[0] == 0.0
    low, high = interval(1.0, 0.2, 50, n=10, squared=True)
    assert high - 1 > 1 - low
