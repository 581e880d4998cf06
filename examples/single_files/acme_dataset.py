"""A data set in one file: `sdekit train --data acme-cross --plugin acme_dataset.py --out RUN`."""

import numpy as np

from sdekit import hookimpl
from sdekit.data import InMemoryDataset, Units


def cross(*, n: int = 5000, seed: int = 0):
    """Points on two crossing lines of length 4; the label is the line.

    Arguments:
        n: Number of points.
        seed: Seed of the points.
    Returns:
        Data set of vectors (2,).
    """
    rng = np.random.default_rng(seed)
    position, noise, label = rng.uniform(-2, 2, n), rng.normal(0, 0.05, n), rng.integers(0, 2, n)
    points = np.where(label[:, None], np.stack([position, noise], 1), np.stack([noise, position], 1))
    return InMemoryDataset(points.astype(np.float32), units=Units(), labels=label, classes=2)


@hookimpl
def sdekit_datasets():
    return {"acme-cross": cross}
