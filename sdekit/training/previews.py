"""What the model draws now, as a PNG."""

from __future__ import annotations

from sdekit.models import ScoreModel
from sdekit.plotting import image_grid, png, scatter, to_pixels
from sdekit.runs import Recipe
from sdekit.sampling import sample

STEPS = 18


class PreviewWarning(UserWarning):
    """A preview could not be drawn; training goes on without it."""


def preview(model: ScoreModel, recipe: Recipe) -> bytes | None:
    """Seeds 0 to 15 (images) or 0 to 1023 (2-D points) by Heun's method; None for data that has no picture."""
    image = recipe.kind == "image"
    if not image and recipe.shape != (2,):
        return None
    n = 16 if image else 1024
    device = next(model.parameters()).device
    y = recipe.examples(n)
    drawn = sample(model.sde, model, "heun", shape=recipe.shape, n=n, steps=STEPS, y=y, device=device).x
    data = recipe.units.to_data(drawn)
    return png(image_grid(to_pixels(data, recipe.units))) if image else scatter(data)
