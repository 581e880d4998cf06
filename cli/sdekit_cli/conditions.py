"""What a conditional run is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdekit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.training.run import Run


def conditions(run: Run, label: int | None, seeds: tuple[int, ...]) -> Tensor | None:
    """(n,) labels: the one asked for, or each sample's from its seed; None for an unconditional run."""
    import torch

    recipe = run.recipe
    if recipe.condition == "none":
        if label is not None:
            raise InputError(f"--label {label}: {run.path} was trained without labels (--condition label)")
        return None
    if label is not None and not 0 <= label < recipe.classes:
        names = f" ({', '.join(recipe.class_names)})" if recipe.class_names else ""
        raise InputError(f"--label {label}: {run.path} has the labels 0 to {recipe.classes - 1}{names}")
    return torch.tensor([seed % recipe.classes if label is None else label for seed in seeds])
