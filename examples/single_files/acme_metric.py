"""A metric in one file: the energy distance."""

import torch

from sdekit import hookimpl


def energy(samples, reference):
    """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'|.

    Arguments:
        samples: Samples, (n, *).
        reference: Data, (m, *).
    Returns:
        Energy distance, near 0 if both have the same distribution.
    Source:
        Szekely & Rizzo 2013.
    """
    x, y = samples.flatten(1), reference.flatten(1)
    return float(2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean())


@hookimpl
def sdekit_metrics():
    return {"acme-energy": energy}
