"""A metric between samples of a model in training and held-out data."""

from __future__ import annotations

import math

import numpy as np
import torch

from sdekit.data import Dataset
from sdekit.errors import InputError, SdekitError
from sdekit.models import ScoreModel
from sdekit.registry import build, component_options, parse_component
from sdekit.runs import Recipe

from .monitoring.previews import draw_quickly

SAMPLES = 256  # number of samples
EVALUATIONS = 12  # network evaluations per sample
REFERENCE_MOST = 1024  # largest number of held-out items


class SampleMetric:
    """Registered metric of a few samples, drawn with few network evaluations, against held-out items.

    Seeds, conditions and held-out items are the same at each step, so that the values are comparable. They serve to
    compare steps of one run; `sdekit evaluate` measures more accurately.

    Arguments:
        recipe: Recipe of the run; `recipe.train.metric` is the metric.
        data: Data set.
        held_out: Indices of the held-out items.
    Raises:
        InputError: If there is no such metric or option, no item is held out, or the metric cannot compare such items.
    """

    def __init__(self, recipe: Recipe, data: Dataset, held_out: np.ndarray) -> None:
        self.recipe, self.name = recipe, recipe.train.metric_name
        _, options = parse_component(recipe.train.metric)
        self.metric = build("metric", self.name, **component_options("metric", self.name, options))
        if not len(held_out):
            raise InputError(
                f"train: evaluate_every={recipe.train.evaluate_every} compares samples with held-out items, and no "
                f"item is held out (held_out={recipe.train.held_out:g}, {len(data)} items): increase train.held_out"
            )
        batch = data.batch(held_out[:REFERENCE_MOST])
        self.reference = batch.x
        self.y = None
        if recipe.condition != "none" and batch.y is not None:
            self.y = batch.y[torch.arange(SAMPLES) % len(batch.y)]
        self._compare(self.reference[torch.arange(SAMPLES) % len(self.reference)])

    def __call__(self, model: ScoreModel) -> float | None:
        """Return the metric for a model in evaluation mode, or None if its samples or their metric are not finite."""
        try:
            value = self._compare(draw_quickly(model, self.recipe, SAMPLES, EVALUATIONS, self.y).cpu())
        except SdekitError:  # half-trained weights may give samples that are not finite
            return None
        return value if math.isfinite(value) else None

    def _compare(self, samples: torch.Tensor) -> float:
        try:
            return float(self.metric(samples, self.reference))
        except SdekitError:
            raise
        except Exception as error:
            raise InputError(
                f"metric {self.name!r} cannot compare items of shape {self.recipe.shape} "
                f"({type(error).__name__}: {error}): choose another one with train.metric"
            ) from error
