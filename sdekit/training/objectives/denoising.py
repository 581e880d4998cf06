"""Training of a denoiser: the loss of a score model at random noise levels."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.data import Batch, Dataset
from sdekit.models import Condition, ScoreModel, condition_parts, drop_conditions
from sdekit.processes import best_float
from sdekit.runs import Recipe, TrainOptions
from sdekit.training.noise_levels import draw, times
from sdekit.training.objective import Inputs, Objective
from sdekit.training.posterior_mean import PosteriorMean
from sdekit.training.step_seeds import seed_from

HELD_OUT_MOST = 1024  # largest number of held-out items in the evaluation


class Denoising(Objective):
    """Denoising: the squared error of the network's output at random noise levels, see `ScoreModel.loss`.

    Arguments:
        recipe: Recipe of the run.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.options, self.sde = recipe.train, recipe.sde.build("sde")
        self.posterior_mean: PosteriorMean | None = None

    def build(self) -> ScoreModel:
        """Build the score model with fresh weights."""
        return self.recipe.build()

    def saved(self, module: nn.Module) -> nn.Module:
        """Return the network of the score model."""
        return cast(ScoreModel, module).network

    def start(self, module: nn.Module, data: Dataset, indices: np.ndarray) -> None:
        """Keep the whole training set for exact targets if it is small, see `PosteriorMean`."""
        self.posterior_mean = PosteriorMean.of(data, indices, self.recipe)

    def inputs(self, batch: Batch, step: int, rows: slice) -> Inputs:
        """Return x0, t, eps and, each possibly None, the condition y, the posterior mean, the augmentation vector."""
        t, eps = draw(self.sde, self.options, self.recipe.shape, step, rows)
        x0, y, mean = batch.x, None, None
        if self.recipe.condition != "none" and batch.y is not None:
            y = dropped_conditions(batch.y, self.options, step, rows)
        if self.posterior_mean is not None:
            mean = self.posterior_mean(x0, t, eps, y)
        if not self.options.augment:
            return x0, t, eps, y, mean, None
        from sdekit.training.augmentation import augment

        x0, vector = augment(x0, self.options, step, rows)
        if mean is not None:  # it is valid only for images that are not transformed
            mean = torch.where(vector.any(1).view(-1, 1, 1, 1), x0, mean)
        return x0, t, eps, y, mean, vector

    def loss(self, module: nn.Module, inputs: Inputs) -> Tensor:
        """Compute the squared error of each item."""
        model = cast(ScoreModel, module)
        device = next(model.parameters()).device
        x0, eps, y, mean, vector = (
            None if z is None else z.to(device, non_blocking=True) for z in (inputs[0], *inputs[2:])
        )
        t = inputs[1]
        assert x0 is not None and t is not None and eps is not None
        if best_float(device) == torch.float64:  # times stay on the CPU for devices without float64
            t = t.to(device, non_blocking=True)
        if vector is None:
            return model.loss(x0, t, eps, y, mean=mean)
        condition = Condition({**condition_parts(y), "augmentation": vector})
        return model.loss(x0, t, eps, condition, mean=mean)

    @torch.no_grad()
    def evaluate(self, module: nn.Module, data: Dataset, indices: np.ndarray) -> dict[str, Any]:
        """Return the mean loss of held-out items at fixed noise levels, or None if no item is held out."""
        items = indices[:HELD_OUT_MOST]
        if not len(items):
            return {"held_out_loss": None}
        generator = torch.Generator().manual_seed(seed_from(self.options.seed, 3))
        t = times(self.sde, self.options, (torch.arange(len(items), dtype=torch.float64) + 0.5) / len(items))
        t = t[torch.randperm(len(items), generator=generator)]
        total, size = 0.0, self.options.batch_size
        for start in range(0, len(items), size):
            part = slice(start, start + size)
            batch = data.batch(items[part])
            eps = torch.randn(batch.x.shape, generator=generator)
            y = batch.y if self.recipe.condition != "none" else None
            total += float(self.loss(module, (batch.x, t[part], eps, y, None, None)).sum())
        return {"held_out_loss": total / len(items)}

    def preview(self, module: nn.Module) -> bytes | None:
        """Draw samples of the model."""
        from sdekit.training.previews import preview

        return preview(cast(ScoreModel, module), self.recipe)

    def describe(self, step: int, index: int) -> str:
        """Describe the noise level of an item."""
        t = draw(self.sde, self.options, self.recipe.shape, step).t[index]
        return f"at noise level sigma/alpha = {float(self.sde.rho(t)):.4g}"


def dropped_conditions(y: Tensor, options: TrainOptions, step: int, rows: slice = slice(None)) -> Tensor:
    """Replace conditions by the null condition with probability `options.drop`.

    Arguments:
        y: Conditions (B, ...) of the rows, on the CPU.
        options: Training options.
        step: Number of the step.
        rows: Rows of the global batch that y belongs to.
    Returns:
        Conditions of the same shape.
    """
    if not options.drop:
        return y
    generator = torch.Generator().manual_seed(seed_from(options.seed, 4, step))
    n = len(y) if rows == slice(None) else options.batch_size
    drop = torch.rand(n, generator=generator)[rows] < options.drop
    return drop_conditions(y, drop)
