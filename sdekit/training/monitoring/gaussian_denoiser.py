"""The best denoiser of a Gaussian with the moments of the data, to which the held-out loss of a network is compared."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.data import Dataset
from sdekit.models import PREDICTIONS
from sdekit.processes import as_time, broadcast
from sdekit.runs import Recipe

MOST_ITEMS = 1024  # largest number of training items from which the moments are estimated
MOST_NUMBERS = 2**24  # largest number of their entries, 128 MB in float64


class GaussianDenoiser(nn.Module):
    """Posterior mean E[x_0 | x_t] for data of the distribution N(mean, U diag(variances) U^T + rest (I - U U^T)).

    D = mean + sum_j alpha v_j / (alpha^2 v_j + sigma^2) u_j u_j^T (x_t - alpha mean). No other linear denoiser has a
    smaller mean squared error, whatever the distribution of the data. A trained network should be at least as good.

    The directions U are the principal components of half of the items, and the variances along them are those of the
    other half. They therefore hold for new items too if the items have more numbers than there are items.

    Arguments:
        recipe: Recipe of the run.
        rows: Training items (N, *), N >= 2.
    """

    def __init__(self, recipe: Recipe, rows: Tensor) -> None:
        super().__init__()
        self.recipe, self.sde = recipe, recipe.sde.build("sde")
        flat = rows.flatten(1).double()
        self.mean = nn.Parameter(flat.mean(0), requires_grad=False)
        first, second = flat[0::2] - self.mean, flat[1::2] - self.mean
        self.directions = torch.linalg.svd(first, full_matrices=False).Vh  # (k, d)
        self.variances = (second @ self.directions.T).square().mean(0)  # (k,)
        k, d = self.directions.shape
        total = second.square().sum(1).mean()
        self.rest = (total - self.variances.sum()).clamp(min=0) / max(d - k, 1)
        self.eval()

    @classmethod
    def of(cls, data: Dataset, indices: np.ndarray, recipe: Recipe) -> GaussianDenoiser | None:
        """Return the Gaussian denoiser of a training set, from evenly spaced items.

        Arguments:
            data: Data set.
            indices: Items to train on.
            recipe: Recipe of the run.
        Returns:
            The denoiser, or None for a set of fewer than two items.
        """
        numbers = int(np.prod(recipe.shape))
        n = min(len(indices), MOST_ITEMS, max(2, MOST_NUMBERS // numbers))
        if n < 2:
            return None
        chosen = indices[np.linspace(0, len(indices) - 1, n).astype(int)]
        size = recipe.train.batch_size
        return cls(recipe, torch.cat([data.batch(chosen[i : i + size]).x for i in range(0, n, size)]))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return E[x_0 | x_t = x] for x (B, *) and times t () or (B,); the condition y is ignored."""
        t = as_time(t)
        z = x.flatten(1).double()
        alpha, sigma = broadcast(self.sde.alpha(t), z), broadcast(self.sde.sigma(t), z)
        z = z - alpha * self.mean
        gain = alpha * self.variances / (alpha**2 * self.variances + sigma**2)
        rest = alpha * self.rest / (alpha**2 * self.rest + sigma**2)
        along = z @ self.directions.T
        denoised: Tensor = self.mean + (gain * along) @ self.directions + rest * (z - along @ self.directions)
        return denoised.view(x.shape)

    def loss(
        self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None, *, mean: Tensor | None = None
    ) -> Tensor:
        """Return the loss of each item as `ScoreModel.loss` measures it, |D - x_0|^2 / c_out^2 per entry, (B,)."""
        t, x0 = as_time(t), x0.double()
        _, c_out = PREDICTIONS[self.recipe.prediction](self.sde.alpha(t), self.sde.sigma(t), self.recipe.data_std)
        target = x0 if mean is None else mean.double()
        error = (self(self.sde.perturb(x0, t, eps.double()), t) - target) / broadcast(c_out, x0)
        loss: Tensor = error.square().flatten(1).mean(1)
        return loss
