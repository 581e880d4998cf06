"""What a step is trained on: all of it that is made on the CPU, as a function of (seed, step)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sdekit.data import Batch
from sdekit.processes import SDE
from sdekit.runs import Recipe

from .augmentation import augment
from .noise_levels import draw
from .posterior_mean import PosteriorMean
from .randomness import dropped_conditions


class Inputs(NamedTuple):
    """x0, eps (B, *), t (B,), y (B, ...) or None, mean (B, *): the posterior mean where it is known."""

    x0: Tensor
    t: Tensor
    eps: Tensor
    y: Tensor | None
    mean: Tensor | None


def inputs(recipe: Recipe, sde: SDE, batch: Batch, posterior: PosteriorMean | None, step: int) -> Inputs:
    """Of the step whose batch this is: noise for it, the conditions it is told, the target, and all of these turned."""
    options = recipe.train
    t, eps = draw(sde, options, recipe.shape, step)
    y = None if recipe.condition == "none" or batch.y is None else dropped_conditions(batch.y, options, step)
    mean = None if posterior is None else posterior(batch.x, t, eps, y)
    x0, eps, mean = augment(sde.rho(t), options, step, batch.x, eps, mean)
    return Inputs(x0, t, eps, y, mean)
