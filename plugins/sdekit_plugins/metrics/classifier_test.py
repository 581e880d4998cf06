"""Classifier two-sample test: the accuracy of a classifier that distinguishes samples from data."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdekit.evaluation import metric_traits


def _standard_error(accuracy: float, n: int, m: int) -> float:
    """Return the standard error of a share of correct answers among independent items."""
    return float((accuracy * (1 - accuracy) / (2 * min(n, m))) ** 0.5)


@metric_traits(
    title="classifier accuracy", unit="share", better=0.5, least=20, low=0.0, high=1.0, repeats=5,
    standard_error=_standard_error,
)  # fmt: skip
def classifier_accuracy(samples: Tensor, reference: Tensor, *, trees: int = 50, folds: int = 2, seed: int = 0) -> float:
    """Accuracy of a random forest that distinguishes samples from data: 0.5 if it cannot.

    The items are divided into folds with equal numbers of samples and data. For each fold, a forest that was trained
    on the other folds answers. The accuracy increases with n: compare it with the floor.

    Arguments:
        samples: Samples, (n, *).
        reference: Data, (m, *).
        trees: Number of trees, at least 1.
        folds: Number of folds, at least 2.
        seed: Seed of the forest and of the folds.
    Returns:
        Share of correct answers.
    Source:
        Lopez-Paz & Oquab 2017.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    n = min(len(samples), len(reference))
    rows = np.concatenate([_in_random_order(x, seed)[:n] for x in (samples, reference)])
    classes = np.repeat([0, 1], n)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    forest = RandomForestClassifier(trees, random_state=seed)
    return float((cross_val_predict(forest, rows, classes, cv=parts) == classes).mean())


def _in_random_order(x: Tensor, seed: int) -> np.ndarray:
    """Return rows (n, d) in a random order that does not depend on their order in x, so that the result does not."""
    rows = x.flatten(1).double()
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(rows.shape[1], generator=generator, dtype=torch.float64)
    ordered: np.ndarray = rows[(rows @ direction).argsort()][torch.randperm(len(rows), generator=generator)].numpy()
    return ordered
