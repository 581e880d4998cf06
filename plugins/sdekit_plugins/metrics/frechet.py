"""Frechet distance between the Gaussians that fit two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor

from sdekit.evaluation import centered_rows, metric_traits


@metric_traits(title="Frechet distance", space="features", squared=True, low=0.0, splits=30, repeats=10)
def frechet_distance(samples: Tensor, reference: Tensor) -> float:
    """Frechet distance of features, |mu - nu|^2 + tr(S + T - 2 (S T)^(1/2)). With Inception features: FID.

    mu, S and nu, T are the means and covariances of the features. The distance is positive even for equal
    distributions, and it decreases with n: compare it with the floor, or with results for the same n.

    Arguments:
        samples: Features of samples, (n, d).
        reference: Features of data, (m, d).
    Returns:
        The squared distance.
    Source:
        Dowson & Landau 1982; Heusel et al. 2017.
    """
    x, y = centered_rows(samples, reference)
    mean = x.mean(0) - y.mean(0)
    x, y = ((rows - rows.mean(0)) / (len(rows) - 1) ** 0.5 for rows in (x, y))
    # tr (S T)^(1/2) with S = x'x and T = y'y is the sum of the singular values of x y'.
    root = torch.linalg.svdvals(_factor(x) @ _factor(y).T).sum()
    return max(float(mean.square().sum() + x.square().sum() + y.square().sum() - 2 * root), 0.0)


def _factor(x: Tensor) -> Tensor:
    """Return a matrix R with at most d rows and R'R = x'x."""
    return x if len(x) <= x.shape[1] else torch.linalg.qr(x, mode="r").R
