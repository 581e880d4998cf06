"""Denoisers that need no training. Their held-out loss is the baseline to which that of a network is compared."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from sdekit.models import PREDICTIONS
from sdekit.processes import as_time, broadcast
from sdekit.runs import Recipe


class PosteriorEstimate(Protocol):
    """Estimate of E[x_0 | x_t, y] with x_t = alpha x0 + sigma eps, such as `PosteriorMean`."""

    def __call__(self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the estimate (B, *) for data x0 (B, *), times t (B,), noise eps (B, *) and conditions y."""


class GaussianDenoiser:
    """Posterior mean E[x_0 | x_t] for data of the distribution N(mean, U diag(variances) U^T + rest (I - U U^T)).

    D = mean + sum_j alpha v_j / (alpha^2 v_j + sigma^2) u_j u_j^T (x_t - alpha mean), for the variances v_j. No other
    linear denoiser has a smaller mean squared error, whatever the distribution of the data.

    The directions U are the principal components of half of the items, and the variances along them are those of the
    other half. The variances are therefore right for new items too if the items have more numbers than there are items.

    Arguments:
        recipe: Recipe of the run.
        rows: Training items (N, *), N >= 2.
        directions: Largest number of directions, or None for all. With 0, the distribution is N(mean, rest I); an
            untrained network is close to its denoiser.
    """

    def __init__(self, recipe: Recipe, rows: Tensor, directions: int | None = None) -> None:
        self.sde, flat = recipe.sde.build("sde"), rows.flatten(1).double()
        self.mean = flat.mean(0)
        first, second = flat[0::2] - self.mean, flat[1::2] - self.mean
        self.directions = torch.linalg.svd(first, full_matrices=False).Vh[:directions]  # (k, d)
        self.variances = (second @ self.directions.T).square().mean(0)  # (k,)
        k, d = self.directions.shape
        total = second.square().sum(1).mean()
        self.rest = (total - self.variances.sum()).clamp(min=0) / max(d - k, 1)

    def __call__(self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None) -> Tensor:
        """Return E[x_0 | x_t] for x_t = alpha x0 + sigma eps; the condition y is ignored."""
        t = as_time(t)
        z = self.sde.perturb(x0.double(), t, eps.double()).flatten(1)
        alpha, sigma = broadcast(self.sde.alpha(t), z), broadcast(self.sde.sigma(t), z)
        z = z - alpha * self.mean
        gain = alpha * self.variances / (alpha**2 * self.variances + sigma**2)
        rest = alpha * self.rest / (alpha**2 * self.rest + sigma**2)
        along = z @ self.directions.T
        denoised: Tensor = self.mean + (gain * along) @ self.directions + rest * (z - along @ self.directions)
        return denoised.view(x0.shape)


class BaselineModel(nn.Module):
    """Estimate of the posterior mean as a model, whose loss is measured like that of a `ScoreModel`.

    Arguments:
        recipe: Recipe of the run.
        estimate: The estimate.
    """

    def __init__(self, recipe: Recipe, estimate: PosteriorEstimate) -> None:
        super().__init__()
        self.recipe, self.sde, self.estimate = recipe, recipe.sde.build("sde"), estimate
        self.device = nn.Parameter(torch.zeros(()), requires_grad=False)  # the estimate is computed on the CPU
        self.eval()

    def loss(
        self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None, *, mean: Tensor | None = None
    ) -> Tensor:
        """Return the loss of each item, |D - x_0|^2 / c_out^2 per entry, (B,); see `ScoreModel.loss`."""
        t = as_time(t)
        _, c_out = PREDICTIONS[self.recipe.prediction](self.sde.alpha(t), self.sde.sigma(t), self.recipe.data_std)
        target = (x0 if mean is None else mean).double()
        with torch.autocast("cpu", enabled=False):  # of a training in bfloat16
            error = (self.estimate(x0, t, eps, y).double() - target) / broadcast(c_out, target)
        loss: Tensor = error.square().flatten(1).mean(1)
        return loss
