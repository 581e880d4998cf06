"""Pictures of what a model draws during its training."""

from __future__ import annotations

from sdekit.models import ScoreModel, is_label
from sdekit.plotting import image_grid, png, scatter, to_pixels
from sdekit.runs import Recipe
from sdekit.sampling import sample

STEPS = 18


def preview(model: ScoreModel, recipe: Recipe) -> bytes | None:
    """Draw samples by Heun's method: 16 images, or 1024 points in the plane.

    Arguments:
        model: Denoiser.
        recipe: Recipe of its run.
    Returns:
        A PNG file, or None for data without a picture.
    """
    image = recipe.kind == "image"
    if not image and recipe.shape != (2,):
        return None
    n = 16 if image else 1024
    device = next(model.parameters()).device
    y = recipe.examples(n)
    samples = sample(model.sde, model, "heun", shape=recipe.shape, n=n, steps=STEPS, y=y, device=device).x
    data = recipe.units.to_data(samples)
    names = recipe.class_names or [str(label) for label in range(recipe.classes)]
    captions = [names[label] for label in y.tolist()] if y is not None and is_label(y) else None
    if image:
        return png(image_grid(to_pixels(data, recipe.units), captions=captions))
    return scatter(data, classes=captions)
