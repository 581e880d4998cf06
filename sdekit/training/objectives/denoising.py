"""Training of a denoiser: the loss of a score model at random noise levels."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.data import Batch, Dataset
from sdekit.models import Condition, ScoreModel, condition_parts, drop_conditions
from sdekit.processes import LARGEST_RHO, best_float
from sdekit.runs import Recipe, TrainOptions
from sdekit.training.monitoring.baseline_denoisers import BaselineModel, GaussianDenoiser
from sdekit.training.monitoring.previews import preview, preview_items
from sdekit.training.noise_levels import draw, times
from sdekit.training.objective import Inputs, Objective
from sdekit.training.posterior_mean import LARGEST_SET, PosteriorMean
from sdekit.training.step_seeds import seed_from

HELD_OUT_MOST = 1024  # largest number of held-out items in the evaluation
HELD_OUT_LEAST = 256  # fewer items are evaluated several times, with different noise
BASELINE_ITEMS = 2048  # largest number of training items for the denoisers without training
NOISE_BINS = 10  # intervals of the noise level for which the held-out loss is reported


class Denoising(Objective):
    """Denoising: the squared error of the network's output at random noise levels, see `ScoreModel.loss`.

    Arguments:
        recipe: Recipe of the run.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.options, self.sde = recipe.train, recipe.sde.build("sde")
        self.posterior_mean: PosteriorMean | None = None
        self.training_set: tuple[Dataset, np.ndarray] | None = None
        self.constant_losses: dict[str, float] = {}  # of denoisers without training, on the fixed items and noise

    def build(self) -> ScoreModel:
        """Build the score model with fresh weights."""
        return self.recipe.build()

    def saved(self, module: nn.Module) -> nn.Module:
        """Return the network of the score model."""
        return cast(ScoreModel, module).network

    def start(self, module: nn.Module, data: Dataset, indices: np.ndarray) -> None:
        """Keep the whole training set for exact targets if it is small, see `PosteriorMean`."""
        self.posterior_mean = PosteriorMean.of(data, indices, self.recipe)
        self.training_set = (data, indices)

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
        """Return the mean loss of held-out items at fixed noise levels with fixed noise, so that rows are comparable.

        Arguments:
            module: Score model in evaluation mode.
            data: Data set.
            indices: Indices of the held-out items; may be empty.
        Returns:
            "held_out_loss", or None if no item is held out; "held_out_loss_by_noise", a table from the mean noise level
            rho of each of `NOISE_BINS` intervals to the mean loss in it; and losses of denoisers without training, with
            the same items and noise. "trivial_loss" is that of a Gaussian of independent numbers with equal variance,
            and "baseline_loss" that of the best denoiser in each interval: of this one, the `GaussianDenoiser` with the
            covariance of the training data, and the `PosteriorMean` over training items.
        """
        items = indices[:HELD_OUT_MOST]
        if not len(items):
            return {"held_out_loss": None}
        items = np.tile(items, -(-HELD_OUT_LEAST // len(items)))
        generator = torch.Generator().manual_seed(seed_from(self.options.seed, 3))
        t = times(self.sde, self.options, (torch.arange(len(items), dtype=torch.float64) + 0.5) / len(items))
        t = t[torch.randperm(len(items), generator=generator)]
        modules = [module] if self.constant_losses else [module, *self._baselines()]
        losses = [torch.zeros(len(items), dtype=torch.float64) for _ in modules]
        for start in range(0, len(items), self.options.batch_size):
            part = slice(start, start + self.options.batch_size)
            batch = data.batch(items[part])
            eps = torch.randn(batch.x.shape, generator=generator)
            inputs = (batch.x, t[part], eps, batch.y if self.recipe.condition != "none" else None, None, None)
            for one, loss in zip(modules, losses, strict=True):
                loss[part] = self.loss(one, inputs).double().cpu()
        by_noise, *of_baselines = (mean_by_noise(self.sde.rho(t), loss) for loss in losses)
        if of_baselines:
            best = [np.nanmin(values) for values in zip(*(table.values() for table in of_baselines), strict=True)]
            trivial = float(losses[-1].mean())
            self.constant_losses = {"baseline_loss": float(np.mean(best)), "trivial_loss": trivial}
        return {"held_out_loss": float(losses[0].mean()), **self.constant_losses, "held_out_loss_by_noise": by_noise}

    def _baselines(self) -> list[BaselineModel]:
        """Return the denoisers without training, from evenly spaced training items, the trivial one last.

        There is none before `start`.
        """
        if self.training_set is None:
            return []
        data, indices = self.training_set
        n = min(len(indices), BASELINE_ITEMS, max(2, LARGEST_SET // int(np.prod(self.recipe.shape))))
        if n < 2:
            return []
        chosen, size = indices[np.linspace(0, len(indices) - 1, n).astype(int)], self.options.batch_size
        batches = [data.batch(chosen[start : start + size]) for start in range(0, n, size)]
        rows = torch.cat([batch.x for batch in batches])
        mean = self.posterior_mean if self.recipe.condition in ("none", "label") else None
        if mean is None:  # without the condition, because no training item may have that of a held-out item
            mean = PosteriorMean(self.sde, rows)
        gaussian, trivial = GaussianDenoiser(self.recipe, rows), GaussianDenoiser(self.recipe, rows, directions=0)
        return [BaselineModel(self.recipe, estimate) for estimate in (gaussian, mean, trivial)]

    @property
    def preview_items(self) -> int:
        """Number of samples in a preview; 0 for data without a picture."""
        return preview_items(self.recipe)

    def preview(self, module: nn.Module) -> bytes | None:
        """Draw samples of the model. Those of a table are beside evenly spaced rows of the training set."""
        rows = None
        if len(self.recipe.columns) > 1 and self.training_set is not None:
            data, indices = self.training_set
            n = min(self.preview_items, len(indices))
            rows = data.batch(indices[np.linspace(0, len(indices) - 1, n).round().astype(int)])
        return preview(cast(ScoreModel, module), self.recipe, self.preview_evaluations, rows)

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


def mean_by_noise(rho: Tensor, loss: Tensor, bins: int = NOISE_BINS) -> dict[str, float]:
    """Return the mean loss in intervals of the noise level that contain equal numbers of items.

    Arguments:
        rho: Noise levels (N,).
        loss: Losses (N,).
        bins: Number of intervals, at most N.
    Returns:
        Maps the geometric mean of the noise levels in an interval, as text with three digits, to the mean loss.
    """
    order = rho.argsort()
    log_rho, loss = rho[order].clamp(max=LARGEST_RHO).log(), loss[order]
    groups = zip(log_rho.tensor_split(min(bins, len(rho))), loss.tensor_split(min(bins, len(rho))), strict=True)
    return {f"{float(levels.mean().exp()):.3g}": float(part.mean()) for levels, part in groups}
