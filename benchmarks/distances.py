"""Three distances between samples and data on raw pixels, without a trained feature extractor."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def as_rows(x: ArrayLike) -> Tensor:
    """Flatten (N, *) to (N, d), in float64."""
    return torch.as_tensor(np.asarray(x, dtype=np.float64)).flatten(1)


def energy_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Return 2 E|x - y| - E|x - x'| - E|y - y'| as a U-statistic: unbiased, so it may be negative."""
    a, b = as_rows(x), as_rows(y)

    def within(z: Tensor) -> float:
        return float(torch.cdist(z, z).sum()) / (len(z) * (len(z) - 1))

    return 2 * float(torch.cdist(a, b).mean()) - within(a) - within(b)


def sliced_w2(x: ArrayLike, y: ArrayLike, *, projections: int = 512, quantiles: int = 2000, seed: int = 123) -> float:
    """Return the root of the squared Wasserstein-2 distance, averaged over random directions, from quantiles."""
    a, b = as_rows(x), as_rows(y)
    directions = torch.randn(
        a.shape[1], projections, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    directions /= directions.norm(dim=0)
    levels = (torch.arange(quantiles, dtype=torch.float64) + 0.5) / quantiles

    def along(z: Tensor) -> Tensor:
        ordered = (z @ directions).sort(0).values
        place = (levels * len(z) - 0.5).clamp(0, len(z) - 1)
        below = place.floor().long()
        above = (below + 1).clamp(max=len(z) - 1)
        weight = (place - below)[:, None]
        return ordered[below] * (1 - weight) + ordered[above] * weight

    return float((along(a) - along(b)).square().mean().sqrt())


def forest_accuracy(x: ArrayLike, y: ArrayLike, *, levels: int = 17, of_each: int | None = None) -> float:
    """Return the accuracy of a random forest (200 trees, 5 folds) that classifies x against y, in [-1, 1].

    Both are rounded to the grey levels of the data. An accuracy of 0.5 means that they cannot be distinguished. The
    accuracy grows with the number of rows: with `of_each`, it is the mean over five random choices of that many rows of
    x and of y.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    def rounded(z: ArrayLike) -> np.ndarray:
        return np.rint((as_rows(z).numpy() + 1) / 2 * (levels - 1)).clip(0, levels - 1)

    def once(a: np.ndarray, b: np.ndarray, seed: int) -> float:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        forest = RandomForestClassifier(200, random_state=seed, n_jobs=-1)
        return float(
            cross_val_score(forest, np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)]), cv=folds).mean()
        )

    a, b = rounded(x), rounded(y)
    if of_each is None:
        return once(a, b, 0)
    draws = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        draws.append(once(rng.permutation(a)[:of_each], rng.permutation(b)[:of_each], seed))
    return float(np.mean(draws))
