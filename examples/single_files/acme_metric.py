"""A metric in one file: the energy distance."""

import torch

from sdekit import hookimpl


def energy(samples, reference):
    """2 E|x - y| - E|x - x'| - E|y - y'| for samples (n, *) and a reference (m, *) (Szekely & Rizzo 2013)."""
    x, y = samples.flatten(1), reference.flatten(1)
    return float(2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean())


@hookimpl
def sdekit_metrics():
    return {"acme-energy": energy}
