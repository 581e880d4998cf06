"""Exact regression target for small training sets: the posterior mean of x_0 over the whole set."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Dataset
from sdekit.models import is_null
from sdekit.processes import LARGEST_RHO, SDE, broadcast
from sdekit.runs import Recipe

LARGEST_SET = 2**24  # largest number of entries of a training set that is kept in memory for exact targets, 64 MB


class PosteriorMean:
    """Posterior mean E[x_0 | x_t, y] if x_0 is one of the rows of a training set, all with equal probability.

    It is sum_i w_i x_i, with weights w_i that are proportional to exp(-|x_t / alpha - x_i|^2 / (2 rho^2)) and sum to 1.
    Regression on it has the same optimum as regression on the x_0 that was drawn, and gradients of smaller variance.

    Arguments:
        sde: Process.
        rows: Training items (N, *).
        labels: Conditions (N, ...) of the items, or None. With conditions, x_0 is one of the rows with the condition y.
    Source:
        Xu et al. 2023, "Stable Target Field for Reduced Variance Score Estimation in Diffusion Models", eq. 5, with the
        whole training set as the reference batch.
    """

    def __init__(self, sde: SDE, rows: Tensor, labels: Tensor | None = None) -> None:
        flat = rows.flatten(1)
        self.center = flat.mean(0)  # subtracted, because distances of rows far from 0 would lose digits in float32
        self.sde, self.centered, self.labels = sde, flat - self.center, labels
        self.half_norms = self.centered.square().sum(1) / 2

    @classmethod
    def of(cls, data: Dataset, indices: np.ndarray, recipe: Recipe) -> PosteriorMean | None:
        """Return the posterior mean of a training set, or None if the set is too large.

        Arguments:
            data: Data set.
            indices: Items to train on.
            recipe: Recipe of the run; `exact_target` of its training options is the largest number of items.
        Returns:
            The posterior mean, or None. It is also None for more than 2^24 numbers, and for embeddings as conditions,
            which rarely repeat and take long to compare.
        """
        if recipe.condition in ("embedding", "sequence"):
            return None
        small = len(indices) <= recipe.train.exact_target
        if not small or len(indices) * int(np.prod(recipe.shape)) > LARGEST_SET:
            return None
        batch = data.batch(indices)
        return cls(recipe.sde.build("sde"), batch.x, batch.y if recipe.condition != "none" else None)

    def __call__(self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the posterior mean given x_t = alpha x0 + sigma eps.

        Arguments:
            x0: Data (B, *).
            t: Times (B,).
            eps: Noise (B, *).
            y: Conditions (B, ...), or None. For a null row, x_0 may be any row of the training set.
        Returns:
            Tensor (B, *).
        """
        rho = broadcast(self.sde.rho(t).clamp(max=LARGEST_RHO), x0)  # rho is infinite if alpha is 0
        z = (x0.flatten(1) - self.center) + (rho * eps).flatten(1)  # x_t / alpha
        logits = (z @ self.centered.T - self.half_norms) / rho.flatten(1) ** 2
        if self.labels is not None and y is not None:
            other = (self.labels != y[:, None]).flatten(2).any(2) if y.ndim > 1 else self.labels != y[:, None]
            logits = logits.masked_fill(other & ~is_null(y)[:, None], -torch.inf)
        return (logits.softmax(1) @ self.centered + self.center).view_as(x0)
