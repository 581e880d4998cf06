"""What a conditional run is asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sdekit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.training.run import Recipe, Run


def conditions(
    run: Run, label: int | None, seeds: tuple[int, ...], *, numbers: str | None = None, guided: bool = False
) -> Tensor | None:
    """(n,) labels: the one asked for, or each sample's from its seed; (n, d) numbers; None where nothing is said.

    guided: a guidance may use a label that the model itself was not trained on. Raises InputError for what the run was
    not trained with.
    """
    import torch

    recipe = run.recipe
    if numbers is not None and recipe.condition != "numbers":
        raise InputError(
            f"--condition {numbers}: {run.path} was not trained on numbers (train --condition COLUMN,COLUMN)"
        )
    if label is not None and (recipe.condition == "numbers" or (recipe.condition == "none" and not guided)):
        raise InputError(f"--label {label}: {run.path} was trained without labels (--condition label)")
    if recipe.condition == "numbers":
        row = _row(run, recipe, numbers)
        return None if row is None else row.repeat(len(seeds), 1)
    if recipe.condition == "none" and label is None:
        return None
    if label is not None and not recipe.classes:
        raise InputError(f"--label {label}: the data of {run.path} have no labels")
    if label is not None and not 0 <= label < recipe.classes:
        names = f" ({', '.join(recipe.class_names)})" if recipe.class_names else ""
        raise InputError(f"--label {label}: {run.path} has the labels 0 to {recipe.classes - 1}{names}")
    return torch.tensor([seed % recipe.classes if label is None else label for seed in seeds])


def _row(run: Run, recipe: Recipe, text: str | None) -> Tensor | None:
    """(1, d) in the model's units; None where none is given and the model knows how to do without."""
    import numpy as np

    names = ", ".join(recipe.condition_names)
    if text is None:
        if recipe.conditioning.null:
            return None
        raise InputError(f"{run.path} was trained on numbers: say --condition {names.replace(' ', '')} as numbers")
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if len(given) != len(recipe.condition_names) or not all(map(math.isfinite, given)):
        raise InputError(f"--condition {text}: {run.path} takes {len(recipe.condition_names)} finite numbers: {names}")
    assert recipe.condition_units is not None
    return recipe.condition_units.to_model(np.array([given]))
