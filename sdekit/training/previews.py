"""Quick samples of a model during its training, and pictures of them."""

from __future__ import annotations

from torch import Tensor

from sdekit.models import ScoreModel, is_label
from sdekit.plotting import image_grid, png, scatter, to_pixels
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
    """Return the number of samples in a preview: 16 images, 1024 points in the plane, 0 for other data."""
    return 16 if recipe.kind == "image" else 1024 if recipe.shape == (2,) else 0


def preview(model: ScoreModel, recipe: Recipe, evaluations: int) -> bytes | None:
    """Draw a picture of samples.

    Arguments:
        model: Denoiser.
        recipe: Recipe of its run.
        evaluations: Largest number of network evaluations per sample.
    Returns:
        A PNG file, or None for data without a picture.
    """
    n = preview_items(recipe)
    if not n:
        return None
    y = recipe.examples(n)
    data = recipe.units.to_data(draw_quickly(model, recipe, n, evaluations, y))
    names = recipe.class_names or [str(label) for label in range(recipe.classes)]
    captions = [names[label] for label in y.tolist()] if y is not None and is_label(y) else None
    if recipe.kind == "image":
        return png(image_grid(to_pixels(data, recipe.units), captions=captions))
    return scatter(data, classes=captions)
