"""Sliced Wasserstein-2 distance between samples and data."""

import torch
from torch import Tensor

from sdekit.evaluation import centered_rows, metric_traits


@metric_traits(title="sliced W2", unit="model units", low=0.0)
def sliced_w2(
    samples: Tensor, reference: Tensor, *, projections: int = 256, quantiles: int = 1000, seed: int = 0
) -> float:
    """Sliced Wasserstein-2 distance: the root of the mean over directions u of W2(u.x, u.y)^2.

    In one dimension, W2^2 is the mean squared difference of the quantiles. The distance is positive even for equal
    distributions, and it decreases with n: compare it with the floor.

    Arguments:
        samples: Samples x, (n, *).
        reference: Data y, (m, *).
        projections: Number of random directions, which are fixed by the seed.
        quantiles: Number of quantiles if n and m differ; for equal numbers the sorted values are compared.
        seed: Seed of the directions.
    Returns:
        The distance, in the units of x.
    Source:
        Bonneel et al. 2015.
    """
    x, y = centered_rows(samples, reference)
    directions = torch.randn(
        projections, x.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).T
    directions = directions / directions.norm(dim=0)
    a, b = ((rows @ directions).sort(0).values for rows in (x, y))
    if len(a) != len(b):
        levels = (torch.arange(quantiles, dtype=torch.float64) + 0.5) / quantiles
        a, b = _quantiles(a, levels), _quantiles(b, levels)
    return float((a - b).square().mean().sqrt())


def _quantiles(ordered: Tensor, levels: Tensor) -> Tensor:
    """Interpolate quantiles of sorted columns; the k-th of n values is the quantile (k - 1/2) / n."""
    place = (levels * len(ordered) - 0.5).clamp(0, len(ordered) - 1)
    below = place.floor().long()
    weight = (place - below)[:, None]
    return ordered[below].lerp(ordered[(below + 1).clamp(max=len(ordered) - 1)], weight)
