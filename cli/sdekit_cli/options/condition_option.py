"""What a conditional run is asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sdekit.errors import InputError

LARGEST = 1e15
"""Of a number in the model's units, where the data's are about 1: its square, summed up, is finite in float32."""

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.models import OpenedModel


def conditions(
    run: OpenedModel, asked: str | None, seeds: tuple[int, ...], *, numbers: str | None = None, guided: bool = False
) -> Tensor | None:
    """(n,) labels: the one asked for, or each sample's from its seed; (n, d) numbers; None where nothing is said.

    asked: number or name of a class. guided: a guidance may use a label that the model itself was not trained on.
    Raises InputError for what the run was not trained with.
    """
    import torch

    recipe = run
    if numbers is not None and recipe.condition != "numbers":
        raise InputError(
            f"--condition {numbers}: {run.path} was not trained on numbers (train --condition COLUMN,COLUMN)"
        )
    if asked is not None and (recipe.condition == "numbers" or (recipe.condition == "none" and not guided)):
        raise InputError(f"--label {asked}: {run.path} was trained without labels (--condition label)")
    if recipe.condition == "numbers":
        row = _row(run, recipe, numbers)
        return None if row is None else row.repeat(len(seeds), 1)
    if recipe.condition == "none" and asked is None:
        return None
    label = None if asked is None else _label(run, recipe, asked)
    return torch.tensor([seed % recipe.classes if label is None else label for seed in seeds])


def _label(run: OpenedModel, recipe: OpenedModel, asked: str) -> int:
    """The class of that number or name."""
    if not recipe.classes:
        raise InputError(f"--label {asked}: the data of {run.path} have no labels")
    numbered = {str(number): number for number in range(recipe.classes)}
    known = {name: number for number, name in enumerate(recipe.class_names)} | numbered  # 7 is the class of number 7
    if asked not in known:
        names = f" ({', '.join(recipe.class_names)})" if recipe.class_names else ""
        raise InputError(f"--label {asked}: {run.path} has the labels 0 to {recipe.classes - 1}{names}")
    return known[asked]


def _row(run: OpenedModel, recipe: OpenedModel, text: str | None) -> Tensor | None:
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
    assert (units := recipe.condition_units) is not None
    with np.errstate(over="ignore"):
        row = units.to_model(np.array([given]))
    if not bool((row.abs() <= LARGEST).all()):
        reach = LARGEST * np.asarray(units.scale) * np.ones(len(given))
        low, high = (np.asarray(units.shift) + sign * reach for sign in (-1, 1))
        told = ", ".join(f"{n} {a:.3g} to {b:.3g}" for n, a, b in zip(recipe.condition_names, low, high, strict=True))
        raise InputError(f"--condition {text}: too large to compute with in float32: give {told}")
    return row
