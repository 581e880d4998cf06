"""Quick samples of a model during its training, and pictures of them."""

from __future__ import annotations

from torch import Tensor

from sdekit.data import Batch
from sdekit.models import ScoreModel, is_label
from sdekit.plotting import pictured_items, sample_pictures
from sdekit.runs import Recipe
from sdekit.sampling import sample

SOLVER = "auto"  # of all samples that are drawn during a training


def draw_quickly(model: ScoreModel, recipe: Recipe, n: int, evaluations: int, y: Tensor | None = None) -> Tensor:
    """Draw samples for a look at a model in training. They depend on the weights only.

    Arguments:
        model: Denoiser.
        recipe: Recipe of its run.
        n: Number of samples, of the seeds from 0.
        evaluations: Largest number of network evaluations per sample.
        y: Conditions (n, ...), or None.
    Returns:
        Samples (n, *shape) in the model's units.
    """
    device = next(model.parameters()).device
    return sample(model.sde, model, SOLVER, shape=recipe.shape, n=n, nfe=evaluations, y=y, device=device).x


def preview_items(recipe: Recipe) -> int:
    """Return the number of samples in a preview, or 0 for data without a picture."""
    return pictured_items(recipe.kind, recipe.shape, recipe.columns)


def preview(model: ScoreModel, recipe: Recipe, evaluations: int, rows: Batch | None = None) -> bytes | None:
    """Draw a picture of samples.

    Arguments:
        model: Denoiser.
        recipe: Recipe of its run.
        evaluations: Largest number of network evaluations per sample.
        rows: Rows of a table to show beside as many samples with their conditions, or None.
    Returns:
        A PNG file, or None for data without a picture.
    """
    n = preview_items(recipe) if rows is None else len(rows.x)
    if not n:
        return None
    y = recipe.examples(n)
    if rows is not None and rows.y is not None and y is not None:
        y = rows.y
    data = recipe.units.to_data(draw_quickly(model, recipe, n, evaluations, y))
    names = recipe.class_names or [str(label) for label in range(recipe.classes)]
    captions = [names[label] for label in y.tolist()] if y is not None and is_label(y) else None
    pictures = sample_pictures(
        data,
        kind=recipe.kind,
        units=recipe.units,
        columns=recipe.channel_names,
        captions=captions,
        sample_rate=recipe.sample_rate,
        table=recipe.columns,
        real=None if rows is None else recipe.units.to_data(rows.x),
    )
    return next(iter(pictures.values()), None)
