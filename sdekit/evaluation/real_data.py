"""The real items that a model is evaluated with: the reference, more items for the floor, and the training items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Dataset, Units, coordinate_names
from sdekit.errors import InputError

if TYPE_CHECKING:
    from sdekit.models import OpenedModel

BATCH = 1024
"""Number of items that are read at once."""
MOST_NAMES = 10
"""Largest number of columns in a message."""


@dataclass(frozen=True, kw_only=True)
class RealData:
    """Data set that a model is evaluated with, and the training items of the model if they are known.

    Arguments:
        data: Data set of the reference.
        spec: The data set as the user writes it.
        part: Description of the candidates, such as "held-out items of digits".
        candidates: Indices of the items among which the reference is chosen.
        held_out: Whether the candidates are not training items.
        training_data: Data set of the training items, or None if they are unknown.
        training: Indices of the training items.
    """

    data: Dataset
    spec: str
    part: str
    candidates: np.ndarray
    held_out: bool = True
    training_data: Dataset | None = None
    training: np.ndarray = field(default_factory=lambda: np.arange(0))

    def choose(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Choose random reference items, and as many further items of the data set as there are samples.

        Arguments:
            n: Number of samples, which is also the largest number of reference items.
            seed: Seed of the choice.
        Returns:
            Sorted indices of the reference, and of further items that are not among them.
        """
        generator = np.random.default_rng(seed)
        m = min(n, len(self.candidates))
        reference = np.sort(self.candidates[generator.choice(len(self.candidates), m, replace=False)])
        drawn = generator.choice(len(self.data), min(n + m, len(self.data)), replace=False)
        others = drawn[~np.isin(drawn, reference)][:n]
        return reference, np.sort(others)

    def check_fits(self, opened: OpenedModel) -> None:
        """Check that the data have the shape and the columns of the data of a model.

        Arguments:
            opened: The model.
        Raises:
            InputError: If they differ. The message names both.
        """
        if tuple(self.data.shape) != tuple(opened.data_shape):
            raise InputError(
                f"{self.spec} has items of shape {tuple(self.data.shape)}, but the data of {opened.path} have the "
                f"shape {tuple(opened.data_shape)}"
            )
        ours, theirs = coordinate_names(self.data.columns), coordinate_names(opened.columns)
        if ours and theirs and ours != theirs:
            raise InputError(
                f"{self.spec} has the columns {_listed(ours)}, but {opened.path} was trained on {_listed(theirs)}"
            )

    def read(self, opened: OpenedModel, indices: np.ndarray, *, training: bool = False) -> Tensor:
        """Read items in the model's units.

        Arguments:
            opened: The model.
            indices: Indices of the items.
            training: Whether they are items of the training data.
        Returns:
            Items (n, *data_shape), float32.
        Raises:
            InputError: If an item contains a number that is not finite, or lies far outside of the range of the
                model's data.
        """
        if not len(indices):
            return torch.empty(0, *opened.data_shape)
        return torch.cat(list(self.batches(opened, indices, training=training)))

    def batches(self, opened: OpenedModel, indices: np.ndarray, *, training: bool = False) -> Iterator[Tensor]:
        """Read items in batches, so that not all of them are in memory at once, see `read`."""
        data = self.training_data if training else self.data
        assert data is not None
        for start in range(0, len(indices), BATCH):
            chosen = indices[start : start + BATCH]
            x = data.batch(chosen).x
            bad = (~x.flatten(1).isfinite().all(1)).nonzero()
            if len(bad):
                raise InputError(f"{self.spec}: item {chosen[int(bad[0])]} contains a number that is not finite")
            raw = data.units.to_data(x)
            _check_range(self.spec, raw, opened)
            same = replace(data.units, low=None, high=None) == replace(opened.units, low=None, high=None)
            yield x if same else replace(opened.units, layout=data.units.layout).to_model(raw)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the coordinates of the rows of a table, or empty."""
        return coordinate_names(self.data.columns)


def whole_numbers(units: Units, x: Tensor, kind: str) -> Tensor:
    """Find which values of the data are whole numbers, such as grey levels and counts.

    Arguments:
        units: Units of the data.
        x: Items (n, *shape) in the model's units.
        kind: Kind of the items.
    Returns:
        Truth values that broadcast against an item: one for all pixels of images, one for each column of vectors.
    """
    raw = torch.from_numpy(replace(units, layout="same").to_data(x))
    whole = (raw == raw.round()).flatten(1).all(0)
    return whole if kind == "vector" else whole.all()


def round_like_data(units: Units, x: Tensor, whole: Tensor) -> Tensor:
    """Round the values of samples that are whole numbers in the data, and limit them to the range of the data.

    Arguments:
        units: Units of the data.
        x: Samples (n, *shape) in the model's units.
        whole: Result of `whole_numbers`.
    Returns:
        The rounded samples in the model's units.
    """
    if not bool(whole.any()):
        return x
    plain = replace(units, layout="same")
    raw = torch.from_numpy(plain.to_data(x)).double()
    rounded = (
        raw.round().clamp(units.low, units.high) if units.low is not None and units.high is not None else raw.round()
    )
    return torch.where(whole, plain.to_model(rounded.numpy()), x)


def _check_range(spec: str, raw: np.ndarray, opened: OpenedModel) -> None:
    """Raise InputError if data (n, *item) lie far outside of the range of the model's data."""
    low, high = opened.units.low, opened.units.high
    if low is None or high is None:
        return
    least, most, tolerance = float(raw.min()), float(raw.max()), 0.1 * (high - low)
    if least < low - tolerance or most > high + tolerance:
        raise InputError(
            f"{spec} contains numbers from {least:g} to {most:g}, but the data of {opened.path} are from {low:g} to "
            f"{high:g}: rescale the data"
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (f", ... ({len(names)} in all)" if len(names) > MOST_NAMES else "")
