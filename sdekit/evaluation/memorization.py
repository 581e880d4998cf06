"""Check whether samples copy training items: distances of samples and of unseen real items to the training items.

Let d_1 and d_2 be the distances of an item to the nearest and to the second-nearest different training item. The ratio
r = d_1 / d_2 is small for a copy, and it does not depend on the scale or the blur of the item.

- A sample with r < 1/3 counts as a copy (Yoon et al. 2023). Real items are rarely copies of each other in this sense,
  except in few dimensions: the share among unseen real items is the comparison.
- nearer = P(r of a sample < r of an unseen real item), with the interval of DeLong et al. 1988.
- z = (U - n m / 2) / (n m (n + m + 1) / 12)^(1/2) for the plain distances d_1, where U counts the pairs in which the
  sample is farther away than the real item (Meehan et al. 2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, cdist

from sdekit.errors import InputError

from .evaluation_result import Memorization, NearPair
from .random_halves import wilson

COPY = 1 / 3
"""Largest ratio r of a copy."""
CLEARLY_NEARER = 0.65
"""A run is flagged if P(r of a sample < r of an unseen real item) is larger than this number."""
FEWEST_REAL = 20
"""Smallest number of held-out items that are compared with. With fewer, training items are used, without themselves."""
MOST_REAL = 1024
"""Largest number of training items in the place of held-out items."""
NEIGHBOURS = 8
"""Number of nearest training items among which the second-nearest different one is looked for."""
PAIRS = 10
"""Number of pairs in the result."""


def check_memorization(
    samples: Tensor,
    training: Iterable[Tensor],
    held_out: Tensor | None,
    *,
    indices: Sequence[int] | np.ndarray | None = None,
) -> Memorization | None:
    """Compare the distances of samples to training items with the distances of unseen real items to them.

    The training items are read once, batch by batch, so that memory does not grow with their number.

    Arguments:
        samples: Samples (n, *shape).
        training: Batches of training items, (B, *shape).
        held_out: Real items (m, *shape) that the model was not trained on. None, or fewer than 20, to compare with
            the distances of training items to the other training items.
        indices: Indices of the training items in their data set, for the pairs; by default 0, 1, ...
    Returns:
        The result, or None if there are fewer than 3 training items.
    Raises:
        InputError: If the training items have another shape, or contain numbers that are not finite.
    """
    queries = samples.flatten(1).double()
    enough = held_out is not None and len(held_out) >= FEWEST_REAL
    real = held_out.flatten(1).double() if held_out is not None and enough else None
    count, center = 0, None
    near = _Nearest(len(queries))
    near_real = None if real is None else _Nearest(len(real))
    for batch in training:
        if tuple(batch.shape[1:]) != tuple(samples.shape[1:]):
            shapes = tuple(batch.shape[1:]), tuple(samples.shape[1:])
            raise InputError(f"the training items have the shape {shapes[0]}, and the samples {shapes[1]}")
        rows = batch.flatten(1).double()
        if not bool(rows.isfinite().all()):
            raise InputError("the training items contain numbers that are not finite (NaN or infinity)")
        if center is None:
            center = rows.mean(0)
        own = real is None
        if real is None or near_real is None:
            real, near_real = rows[:MOST_REAL], _Nearest(len(rows[:MOST_REAL]))
        near.add(cdist(queries - center, rows - center), count)
        distances = cdist(real - center, rows - center)
        near_real.add(distances.fill_diagonal_(torch.inf) if own else distances, count)
        count += len(rows)
    if count < 3 or real is None or near_real is None or center is None:
        return None
    scale = float((real - center).norm(dim=1).mean())
    (d, ratio), (d_real, ratio_real) = (found.first_and_ratio(1e-6 * scale) for found in (near, near_real))
    copies, real_copies = float((ratio < COPY).mean()), float((ratio_real < COPY).mean())
    copies_low, copies_high = wilson(copies, len(ratio))
    nearer, nearer_low, nearer_high = _probability_less(ratio, ratio_real)
    # The interval of the difference of two shares, Newcombe 1998, method 10.
    excess = copies - real_copies
    excess -= ((copies - copies_low) ** 2 + (wilson(real_copies, len(ratio_real))[1] - real_copies) ** 2) ** 0.5
    order = np.argsort(ratio, kind="stable")[:PAIRS]
    return Memorization(
        flagged=excess > 0 or nearer_low > CLEARLY_NEARER,
        copies=copies,
        copies_low=copies_low,
        copies_high=copies_high,
        real_copies=real_copies,
        nearer=nearer,
        nearer_low=nearer_low,
        nearer_high=nearer_high,
        z=_mann_whitney(d, d_real),
        median_distance=float(np.median(d)),
        real_median_distance=float(np.median(d_real)),
        n=len(d),
        real_n=len(d_real),
        training_n=count,
        compared_with="held-out items" if enough else "other training items",
        pairs=tuple(
            NearPair(
                sample=int(i),
                item=int(near.items[i, 0]) if indices is None else int(indices[int(near.items[i, 0])]),
                distance=float(d[i]),
                ratio=float(ratio[i]),
            )
            for i in order
        ),
    )


class _Nearest:
    """Distances and positions of the nearest training items of each query, over all batches so far.

    Arguments:
        n: Number of queries.
    """

    def __init__(self, n: int) -> None:
        self.distances = torch.full((n, NEIGHBOURS), torch.inf, dtype=torch.float64)
        self.items = torch.full((n, NEIGHBOURS), -1)

    def add(self, distances: Tensor, first: int) -> None:
        """Add the distances (n, B) to a batch whose first item has the position `first`."""
        positions = (first + torch.arange(distances.shape[1])).expand_as(distances)
        both = torch.cat([self.distances, distances], 1)
        self.distances, chosen = both.topk(NEIGHBOURS, 1, largest=False)
        self.items = torch.cat([self.items, positions], 1).gather(1, chosen)

    def first_and_ratio(self, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """Return d_1 (n,) and d_1 / d_2 (n,). Training items at equal distance, up to the tolerance, are duplicates."""
        d = np.round(self.distances.numpy(), 9)  # items on a lattice, such as grey levels, have equal distances
        first = d[:, :1]
        different = np.isfinite(d) & (d > first * (1 + 1e-6) + tolerance)
        second = np.where(different.any(1), d[np.arange(len(d)), different.argmax(1)], first[:, 0])
        ratio = np.divide(first[:, 0], second, out=np.ones(len(d)), where=second > 0)
        return first[:, 0], ratio


def _probability_less(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Return P(x < y) + P(x = y) / 2 and its 95% interval."""
    n, m = len(x), len(y)
    both = rankdata(np.concatenate([x, y]))
    less_than_y = (both[n:] - rankdata(y)) / n  # share of the x below each y
    greater_than_x = 1 - (both[:n] - rankdata(x)) / m  # share of the y above each x
    share = float(less_than_y.mean())
    error = (less_than_y.var(ddof=1) / m + greater_than_x.var(ddof=1) / n) ** 0.5
    return share, max(share - 1.96 * float(error), 0.0), min(share + 1.96 * float(error), 1.0)


def _mann_whitney(x: np.ndarray, y: np.ndarray) -> float:
    """Return the z-score of the Mann-Whitney statistic; negative if x is smaller than y."""
    n, m = len(x), len(y)
    u = rankdata(np.concatenate([x, y]))[:n].sum() - n * (n + 1) / 2
    return float((u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5)
