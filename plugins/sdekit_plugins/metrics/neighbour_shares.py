"""Precision, recall, density and coverage: shares of items within the neighbourhoods of other items.

The neighbourhood of an item is the ball around it with the distance to its k-th nearest other item of the same set as
radius. All four depend on n, m and k.
"""

from __future__ import annotations

from torch import Tensor, cdist

from sdekit.errors import InputError
from sdekit.evaluation import centered_rows, metric_traits


@metric_traits(title="precision", unit="share", better="higher", least=12, space="features", low=0.0, high=1.0)
def precision(samples: Tensor, reference: Tensor, *, k: int = 5) -> float:
    """Precision: share of the samples that are near a reference item (are the samples realistic?).

    Arguments:
        samples: Samples or their features, (n, *).
        reference: Data or their features, (m, *).
        k: Number of the neighbour that determines the radius, from 1 to m - 1.
    Returns:
        The share.
    Source:
        Kynkaanniemi et al. 2019, eq. 2.
    """
    x, y = centered_rows(samples, reference)
    return float((cdist(x, y) <= _radius(y, k)).any(1).double().mean())


@metric_traits(title="recall", unit="share", better="higher", least=12, space="features", low=0.0, high=1.0)
def recall(samples: Tensor, reference: Tensor, *, k: int = 5) -> float:
    """Recall: share of the reference that is near a sample (are all kinds of data sampled?).

    Arguments:
        samples: Samples or their features, (n, *).
        reference: Data or their features, (m, *).
        k: Number of the neighbour that determines the radius, from 1 to n - 1.
    Returns:
        The share.
    Source:
        Kynkaanniemi et al. 2019, eq. 2.
    """
    return precision(reference, samples, k=k)


@metric_traits(title="density", unit="1 = as dense as the data", better="higher", least=12, space="features", low=0.0)
def density(samples: Tensor, reference: Tensor, *, k: int = 5) -> float:
    """Density: mean number of neighbourhoods of reference items that contain a sample, divided by k.

    Unlike precision, a single outlier among the reference items hardly changes it. It is about 1 for equal
    distributions and larger if the samples are concentrated where the data are dense.

    Arguments:
        samples: Samples or their features, (n, *).
        reference: Data or their features, (m, *).
        k: Number of the neighbour that determines the radius, from 1 to m - 1.
    Returns:
        The density.
    Source:
        Naeem et al. 2020, eq. 4.
    """
    x, y = centered_rows(samples, reference)
    return float((cdist(x, y) <= _radius(y, k)).sum()) / (k * len(x))


@metric_traits(title="coverage", unit="share", better="higher", least=12, space="features", low=0.0, high=1.0)
def coverage(samples: Tensor, reference: Tensor, *, k: int = 5) -> float:
    """Coverage: share of the reference items whose neighbourhood contains at least one sample.

    It is about 1 - 2^-k for equal distributions and n = m, and it increases with n / m.

    Arguments:
        samples: Samples or their features, (n, *).
        reference: Data or their features, (m, *).
        k: Number of the neighbour that determines the radius, from 1 to m - 1.
    Returns:
        The share.
    Source:
        Naeem et al. 2020, eq. 5.
    """
    x, y = centered_rows(samples, reference)
    return float((cdist(x, y) <= _radius(y, k)).any(0).double().mean())


def _radius(x: Tensor, k: int) -> Tensor:
    """Return the distance of each row of x to its k-th nearest other row."""
    if not 1 <= k < len(x):
        raise InputError(f"k must be from 1 to {len(x) - 1} for {len(x)} items, got {k}")
    return cdist(x, x).fill_diagonal_(0).kthvalue(k + 1).values
