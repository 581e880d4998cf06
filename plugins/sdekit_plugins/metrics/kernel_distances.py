"""Distances of kernel means: MMD with a Gaussian kernel, and the polynomial kernel distance of features."""

from __future__ import annotations

import torch
from torch import Tensor, cdist

from sdekit.errors import InputError
from sdekit.evaluation import centered_rows, metric_traits


@metric_traits(title="MMD^2", squared=True)
def mmd(samples: Tensor, reference: Tensor, *, bandwidth: float | None = None) -> float:
    """Squared maximum mean discrepancy, E k(x, x') + E k(y, y') - 2 E k(x, y), with a Gaussian kernel k.

    k(x, y) = exp(-|x - y|^2 / 2 h^2). It is a U-statistic: unbiased for every n, so that it is negative for about half
    of all perfect models.

    Arguments:
        samples: Samples x, (n, *).
        reference: Data y, (m, *).
        bandwidth: Bandwidth h, above 0; None for the median distance between two reference items.
    Returns:
        The squared discrepancy.
    Raises:
        InputError: If the bandwidth is not positive, or if all reference items are equal.
    Source:
        Gretton et al. 2012, eq. 3.
    """
    x, y = centered_rows(samples, reference)
    within = cdist(y, y)
    h = float(within[~torch.eye(len(y), dtype=torch.bool)].median()) if bandwidth is None else bandwidth
    if not h > 0:
        raise InputError(f"mmd: bandwidth must be above 0, got {h:g}")
    squares = (cdist(x, x), within, cdist(x, y))
    return _discrepancy(*((-(distance / h).square() / 2).exp() for distance in squares))


@metric_traits(title="kernel distance", squared=True, space="features")
def kernel_distance(samples: Tensor, reference: Tensor) -> float:
    """Kernel distance of features, the squared MMD with k(x, y) = (x.y / d + 1)^3 (KID).

    It is a U-statistic: unbiased for every n, so that it is negative for about half of all perfect models.

    Arguments:
        samples: Features of samples x, (n, d).
        reference: Features of data y, (m, d).
    Returns:
        The squared discrepancy.
    Source:
        Binkowski et al. 2018, section 3.
    """
    x, y = samples.flatten(1).double(), reference.flatten(1).double()
    return _discrepancy(*((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))))


def _discrepancy(xx: Tensor, yy: Tensor, xy: Tensor) -> float:
    """Return the unbiased squared MMD from the kernel matrices."""
    within = [float((k.sum() - k.trace()) / (len(k) * (len(k) - 1))) for k in (xx, yy)]
    return sum(within) - 2 * float(xy.mean())
