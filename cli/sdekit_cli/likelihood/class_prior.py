"""Prior probabilities of classes, from the option --prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdekit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.models import OpenedModel

FORM = "uniform, data, or a probability for each class: 0.7,0.3 or cat=0.7,dog=0.3"


def class_prior(opened: OpenedModel, text: str, names: Sequence[str]) -> Tensor:
    """Return the prior probabilities of the trained classes.

    Arguments:
        opened: The model.
        text: "uniform"; "data" for the shares of the classes among the training items; or numbers.
        names: Names of the trained classes.
    Returns:
        Probabilities (C,), float64, with the sum 1.
    Raises:
        InputError: If the text is none of these, or the training data of the model are unknown.
    """
    import torch

    if text == "uniform":
        return torch.full((len(names),), 1 / len(names), dtype=torch.float64)
    numbers = _from_training_data(opened) if text == "data" else _parse(text, names)
    prior = torch.tensor(numbers, dtype=torch.float64)
    return prior / prior.sum()


def _from_training_data(opened: OpenedModel) -> list[float]:
    """Return the number of training items of each trained class."""
    import numpy as np

    from sdekit.data import split, with_classes
    from sdekit.runs import Run
    from sdekit.training import load_run_data

    if not isinstance(opened, Run):
        raise InputError(f"--prior data: {opened.path} is no run, so its training data are unknown: give numbers")
    recipe = opened.recipe
    data = with_classes(load_run_data(recipe), recipe.classes, recipe.class_names)
    found = data.labels_of(split(len(data), recipe.train.held_out)[0])
    if found is None:
        raise InputError(f"--prior data: {recipe.data.name} has no labels any more: give numbers")
    counts = np.bincount(found.numpy(), minlength=recipe.classes)
    return [float(counts[label]) for label in opened.conditioning.labels]


def _parse(text: str, names: Sequence[str]) -> list[float]:
    """Return one number for each class."""
    parts = [part.rpartition("=") for part in text.split(",")]
    named = {name.strip(): number for name, equals, number in parts if equals}
    if named and set(named) != set(names):
        unknown, missing = [name for name in named if name not in names], [name for name in names if name not in named]
        problem = f"there is no class {unknown[0]!r}" if unknown else f"the class {missing[0]!r} has no number"
        raise InputError(f"--prior {text}: {problem}; the classes are {', '.join(names)}")
    texts = [named[name] for name in names] if named else [number for _, _, number in parts]
    try:
        numbers = [float(number) for number in texts]
    except ValueError:
        raise InputError(f"--prior {text}: expected {FORM}") from None
    if len(numbers) != len(names):
        raise InputError(
            f"--prior {text}: {len(numbers)} numbers for {len(names)} classes, which are {', '.join(names)}"
        )
    if not all(math.isfinite(p) and p >= 0 for p in numbers) or sum(p > 0 for p in numbers) < 1:
        raise InputError(f"--prior {text}: probabilities are finite and at least 0, and one of them is positive")
    return numbers
