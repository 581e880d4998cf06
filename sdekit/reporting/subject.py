"""Subject of a report: the model, and everything that is recorded about its training and its evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Dataset, coordinate_names, split, with_classes
from sdekit.data.tables import snap_to_columns
from sdekit.errors import InputError, SdekitError
from sdekit.models import Condition, OpenedModel
from sdekit.runs import Recipe, Run, is_export, is_run, load_json, read_metrics
from sdekit.training import load_data, load_run_data

MOST_IMAGES, MOST_ROWS = 36, 1000
"""Largest number of items that are drawn, of images, sequences and volumes, and of vectors."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and the facts about it, as far as they exist.

    Arguments:
        spec: RUN as the user wrote it.
        opened: The model.
        data: Data set, or None if it is not known or cannot be opened.
        data_spec: Name of the data set, or empty.
        data_options: Options of a data set that the user chose.
        missing_data: Reason why there is no data set, or empty.
        config: Contents of config.json, or empty.
        metrics: Rows of metrics.jsonl.
        own_data: Whether the data are those of the training.
    """

    spec: str
    opened: OpenedModel
    data: Dataset | None = None
    data_spec: str = ""
    data_options: Mapping[str, Any] = field(default_factory=dict)
    missing_data: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    own_data: bool = False

    @property
    def recipe(self) -> Recipe | None:
        """Recipe of the training, or None for a model of another maker."""
        return self.opened.recipe if isinstance(self.opened, Run) else None

    @property
    def is_vector(self) -> bool:
        """Whether the items are vectors. All other items are shown as pictures."""
        return self.opened.kind == "vector"

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.opened.model.parameters()).device

    @cached_property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the training part and of the held-out part of the data; all items are one part of other data."""
        n = 0 if self.data is None else len(self.data)
        if self.recipe is None or not self.own_data or not n:
            return np.arange(n), np.arange(0)
        return split(n, self.recipe.train.held_out)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the numbers of a vector."""
        d = self.opened.data_shape[0]
        names = coordinate_names(self.opened.columns or (() if self.data is None else self.data.columns))
        if len(names) == d:
            return names
        return ("x", "y") if d == 2 else tuple(f"column{i + 1}" for i in range(d))

    def chosen(self, most: int) -> np.ndarray:
        """Return indices of at most `most` items of the training part, evenly spaced."""
        train = self.parts[0]
        rows: np.ndarray = train[np.linspace(0, len(train) - 1, min(most, len(train))).round().astype(int)]
        return rows

    def items(self, most: int | None = None) -> np.ndarray:
        """Return items of the training part in the units of the data, (n, *item); empty without data."""
        if self.data is None:
            return np.zeros((0, *self.opened.data_shape), np.float32)
        most = most or (MOST_ROWS if self.is_vector else MOST_IMAGES)
        items = self.data.units.to_data(self.data.batch(self.chosen(most)).x)
        return snap_to_columns(items, self.data.columns) if self.data.columns else items

    def labels(self, indices: np.ndarray) -> list[str] | None:
        """Return the names of the classes of items, or None without classes."""
        if self.data is None or not self.data.classes:
            return None
        y = self.data.labels_of(indices)
        return None if y is None else [self.class_name(int(label)) for label in y]

    def class_name(self, label: int) -> str:
        """Return the name of a class of the model's data."""
        names = self.opened.class_names
        return names[label] if names else str(label)

    def conditions(self, n: int) -> Tensor | Condition | None:
        """Return n conditions to draw samples with, or None for a model without a condition.

        Vectors are drawn with the conditions of items of the data, so that their distribution is that of the data.
        Other items are drawn with all classes in turn.
        """
        opened = self.opened
        if opened.condition == "none":
            return None
        if self.own_data and self.data is not None and (self.is_vector or opened.condition != "label"):
            train = self.parts[0]
            chosen = train[np.linspace(0, len(train) - 1, n).round().astype(int)]
            y = self.data.labels_of(chosen)
            if y is not None:
                return y
        return opened.examples(n)


def gather(
    spec: str,
    opened: OpenedModel,
    *,
    data: str | None = None,
    data_options: Mapping[str, Any] | None = None,
) -> Subject:
    """Gather the facts about a model.

    Arguments:
        spec: RUN as the user wrote it.
        opened: The model.
        data: SPEC of a data set to compare with, or None for the data of the training.
        data_options: Options of that data set.
    Returns:
        The subject of a report.
    Raises:
        InputError: If `data` cannot be opened, or its items do not have the shape of the model's samples.
    """
    subject = Subject(spec=spec, opened=opened)
    if is_run(opened.path) or is_export(opened.path):
        subject = replace(subject, config=_config(opened), metrics=read_metrics(opened.path))
    if data is not None:
        chosen, component = load_data(data, **(data_options or {}))
        if tuple(chosen.shape) != tuple(opened.data_shape):
            raise InputError(
                f"{data} has items of shape {tuple(chosen.shape)}, and {spec} draws samples of shape "
                f"{tuple(opened.data_shape)}: choose data of that shape"
            )
        return replace(subject, data=chosen, data_spec=component.name, data_options=component.options)
    if subject.recipe is None:
        return replace(subject, missing_data="The data of this model are not known. Add --data SPEC to compare with.")
    recipe = subject.recipe
    try:
        own = with_classes(load_run_data(recipe), recipe.classes, recipe.class_names)
        if (tuple(own.shape), len(own)) != (recipe.shape, recipe.items):
            raise InputError(f"{recipe.data.name} has changed since the training")
    except (SdekitError, OSError) as error:
        reason = f"The data of the training could not be opened ({error}). Add --data SPEC to compare with other data."
        return replace(subject, missing_data=reason, data_spec=recipe.data.name)
    return replace(subject, data=own, data_spec=recipe.data.name, own_data=True)


def _config(opened: OpenedModel) -> Mapping[str, Any]:
    """Return the contents of config.json; empty for an export, whose record is another file."""
    if is_export(opened.path):
        return {}
    from sdekit.runs import RunFolder

    return load_json(RunFolder(opened.path).config)
