"""Confidence intervals of means: how often they contain the mean."""

import math

import pytest
import torch

from sdekit import InputError
from sdekit.likelihood import mean_interval, pooled_interval, t_quantile


def test_intervals_of_few_items_cover_their_mean() -> None:
    """In 2000 repetitions with 4 items, the 95% interval contains the mean of the distribution 93.5 to 96.5%."""
    items = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3
    covered = [low <= 3 <= high for _, _, low, high in map(mean_interval, items)]
    assert 0.935 <= sum(covered) / 2000 <= 0.965


def test_intervals_of_errors_with_few_degrees_of_freedom() -> None:
    """The same for the mean of 12 given items, whose errors are each estimated from 3 values."""
    values = torch.randn(2000, 12, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    covered = []
    for each in values:
        found = pooled_interval(each.mean(1), each.std(1) / math.sqrt(3), 2)
        covered.append(found.low <= 0 <= found.high)
    assert 0.935 <= sum(covered) / 2000 <= 0.965


def test_values_of_the_intervals() -> None:
    """The mean, its error and Student's quantile; one item has no interval, and that of exact values is empty."""
    found = mean_interval(torch.tensor([1.0, 2, 3]))
    assert found.mean == 2 and found.standard_error == pytest.approx(1 / math.sqrt(3))
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3)) and found.low + found.high == pytest.approx(4)
    assert math.isnan(mean_interval(torch.ones(1)).low)
    assert pooled_interval(torch.ones(3), torch.zeros(3), 0)[2:] == (1, 1)
    assert math.isnan(pooled_interval(torch.ones(3), torch.full((3,), torch.nan), 0).low)
    assert t_quantile(0.95, 10**6) == pytest.approx(1.95997, abs=1e-4)


def test_bad_arguments_are_refused() -> None:
    """No items, and a confidence of 95 instead of 0.95."""
    with pytest.raises(InputError, match="values"):
        mean_interval(torch.ones(0))
    with pytest.raises(InputError, match="between 0 and 1, got 95"):
        mean_interval(torch.ones(3), 95)
