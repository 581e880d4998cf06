"""Energy distance between samples and data."""

from torch import Tensor, cdist

from sdekit.evaluation import centered_rows, metric_traits


@metric_traits(title="energy distance", unit="model units", squared=True)
def energy_distance(samples: Tensor, reference: Tensor) -> float:
    """Energy distance, 2 E|x - y| - E|x - x'| - E|y - y'|: 0 if both distributions are equal.

    It is a U-statistic: unbiased for every n, so that it is negative for about half of all perfect models.

    Arguments:
        samples: Samples x, (n, *).
        reference: Data y, (m, *).
    Returns:
        The distance, in the units of x.
    Source:
        Szekely & Rizzo 2013.
    """
    x, y = centered_rows(samples, reference)
    return 2 * float(cdist(x, y).mean()) - _mean_within(x) - _mean_within(y)


def _mean_within(x: Tensor) -> float:
    """Return the mean distance between two different rows."""
    return float(cdist(x, x).fill_diagonal_(0).sum()) / (len(x) * (len(x) - 1))
