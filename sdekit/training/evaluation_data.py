"""Open the real items with which a model is evaluated: those of --data, or the held-out items of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sdekit.data import Dataset, is_python_object, split, with_classes
from sdekit.errors import InputError
from sdekit.evaluation import RealData
from sdekit.models import OpenedModel
from sdekit.runs import Component, Run, fingerprint, is_same_data

from .planning import load_data, load_run_data

FEWEST = 20
"""Smallest number of held-out items that are the reference by default."""


def open_real_data(opened: OpenedModel, spec: Any = None, options: Mapping[str, Any] | None = None) -> RealData:
    """Open the real items with which a model is evaluated.

    Without a data set, these are the held-out items of the run, or its training items if fewer than 20 are held out. If
    the data set is that of the run, its held-out items are used too.

    Arguments:
        opened: The model.
        spec: Data set, as a name, a path or a Python object (see `load_data`), or None for the data of the run.
        options: Options of the data set.
    Returns:
        The real items, with the training items of a run if its data can be opened.
    Raises:
        InputError: If the data cannot be opened, or if they are unknown because the model is not a run.
    """
    run = opened if isinstance(opened, Run) else None
    chosen = None if spec is None else load_data(spec, **(options or {}))
    if chosen is not None and (run is None or not _is_own_data(run, *chosen)):
        training, indices = _training(run)
        data = with_classes(chosen[0], opened.classes, opened.class_names)
        name = chosen[1].name
        everything = np.arange(len(data))
        return RealData(
            data=data, spec=name, part=f"items of {name}", candidates=everything, training_data=training,
            training=indices,
        )  # fmt: skip
    if run is None:
        raise InputError(f"{opened.path} is no run, so its data are unknown: add --data SPEC")
    name = run.recipe.data.name
    data = chosen[0] if chosen is not None and is_python_object(name) else load_run_data(run.recipe)
    train, held = split(len(data), run.recipe.train.held_out)
    enough = len(held) >= FEWEST
    return RealData(
        data=data,
        spec=name,
        part=f"held-out items of {name}" if enough else f"training items of {name}",
        candidates=held if enough else train,
        held_out=enough,
        training_data=data,
        training=train,
    )


def _is_own_data(run: Run, data: Dataset, component: Component) -> bool:
    """Return whether data are those of a run. Python objects of one name may differ, so their items are compared."""
    recipe = run.recipe
    if component != recipe.data:
        return False
    if not is_python_object(component.name):
        return True
    facts = (len(data), tuple(data.shape), data.units)
    return facts == (recipe.items, recipe.shape, recipe.units) and is_same_data(recipe.fingerprint, fingerprint(data))


def _training(run: Run | None) -> tuple[Any, np.ndarray]:
    """Return the data set and the indices of the training items of a run, or nothing if it cannot be opened."""
    if run is None:
        return None, np.arange(0)
    try:
        data = load_run_data(run.recipe)
    except (InputError, OSError):
        return None, np.arange(0)
    return data, split(len(data), run.recipe.train.held_out)[0]
