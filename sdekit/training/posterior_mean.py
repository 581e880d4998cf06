"""The exact regression target of a small training set: the posterior mean over all of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Dataset
from sdekit.models import is_null
from sdekit.processes import LARGEST_RHO, SDE, broadcast
from sdekit.runs import Recipe

NUMBERS_MOST = 2**24  # numbers of a training set that is held in memory for it, 64 MB


class PosteriorMean:
    """E[x_0 | x_t, y] when x_0 is one of the rows, each as likely as the next.

    A network regressed on it has the same minimizer as one regressed on the x_0 that was drawn, from gradients of
    less variance (Xu et al. 2023, "Stable Target Field for Reduced Variance Score Estimation in Diffusion Models",
    eq. 5, with all of the data as the reference batch). rows: (N, *). labels: (N, ...) to condition on, or None.
    """

    def __init__(self, sde: SDE, rows: Tensor, labels: Tensor | None = None) -> None:
        flat = rows.flatten(1)
        self.center = flat.mean(0)  # taken off, since float32 would cancel in the distances of rows far from 0
        self.sde, self.centered, self.labels = sde, flat - self.center, labels
        self.half_norms = self.centered.square().sum(1) / 2

    @classmethod
    def of(cls, data: Dataset, indices: np.ndarray, recipe: Recipe) -> PosteriorMean | None:
        """That of a recipe's training set; None where the set is larger than the recipe says, or than memory bears."""
        few = len(indices) <= recipe.train.exact_target
        if not few or len(indices) * int(np.prod(recipe.shape)) > NUMBERS_MOST:
            return None
        batch = data.batch(indices)
        return cls(recipe.sde.build("sde"), batch.x, batch.y if recipe.condition != "none" else None)

    def __call__(self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None) -> Tensor:
        """x0, eps (B, *), t (B,), y (B, ...) or None, to (B, *): the mean given x_t = alpha x0 + sigma eps.

        A null row of y restricts nothing, as None does.
        """
        rho = broadcast(self.sde.rho(t).clamp(max=LARGEST_RHO), x0)  # infinite where alpha is 0
        z = (x0.flatten(1) - self.center) + (rho * eps).flatten(1)  # x_t / alpha
        logits = (z @ self.centered.T - self.half_norms) / rho.flatten(1) ** 2
        if self.labels is not None and y is not None:
            other = (self.labels != y[:, None]).flatten(2).any(2) if y.ndim > 1 else self.labels != y[:, None]
            logits = logits.masked_fill(other & ~is_null(y)[:, None], -torch.inf)
        return (logits.softmax(1) @ self.centered + self.center).view_as(x0)
