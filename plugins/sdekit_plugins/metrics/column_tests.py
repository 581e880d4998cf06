"""Metrics of the columns of a table: Kolmogorov-Smirnov statistics and differences of correlations."""

from __future__ import annotations

import torch
from torch import Tensor

from sdekit.evaluation import metric_traits


@metric_traits(title="Kolmogorov-Smirnov", unit="share, mean of the columns", kinds=("vector",), low=0.0)
def ks(samples: Tensor, reference: Tensor) -> float:
    """Kolmogorov-Smirnov statistic: largest difference of the distribution functions, mean over columns.

    It is positive even for equal distributions, and it decreases with n: compare it with the floor.

    Arguments:
        samples: Samples, (n, d).
        reference: Data, (m, d).
    Returns:
        The mean statistic, from 0 to 1.
    Source:
        Smirnov 1939.
    """
    columns = zip(samples.flatten(1).double().T, reference.flatten(1).double().T, strict=True)
    return float(sum(_largest_difference(x, y) for x, y in columns) / samples[0].numel())


def _largest_difference(x: Tensor, y: Tensor) -> float:
    """Return the largest difference of the empirical distribution functions of x (n,) and y (m,)."""
    x, y = x.sort().values, y.sort().values
    places = torch.cat([x, y])
    below_x, below_y = (torch.searchsorted(z, places, right=True).double() / len(z) for z in (x, y))
    return float((below_x - below_y).abs().max())


@metric_traits(title="correlations", unit="mean difference", kinds=("vector",), least_columns=2, low=0.0, least=8)
def correlations(samples: Tensor, reference: Tensor) -> float:
    """Mean absolute difference between the correlations of samples and data, over all pairs of columns.

    A pair with a constant column has no correlation and counts as 0. The metric is positive even for equal
    distributions, and it decreases with n: compare it with the floor.

    Arguments:
        samples: Samples, (n, d).
        reference: Data, (m, d), d at least 2.
    Returns:
        The mean difference of Pearson's correlation coefficients, from 0 to 2.
    """
    one, other = (torch.corrcoef(x.flatten(1).double().T).nan_to_num(0.0) for x in (samples, reference))
    above = torch.ones_like(one).triu(1).bool()
    return float((one - other)[above].abs().mean())
