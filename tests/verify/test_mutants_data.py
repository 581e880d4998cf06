"""The kit catches planted faults of data sets and metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import verify
from sdekit.data import Batch, InMemoryDataset, moons

from .findings import failure


class Shaken(InMemoryDataset):
    """Adds noise of its own."""

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        return Batch(x + 0.01 * torch.randn_like(x), y)


class Sorted(InMemoryDataset):
    """Puts a batch into its own order."""

    def batch(self, indices: Any) -> Batch:
        return super().batch(sorted(indices))


class SortsLabels(InMemoryDataset):
    """The images stay in order; their labels do not."""

    def batch(self, indices: Any) -> Batch:
        return Batch(super().batch(indices).x, super().batch(sorted(indices)).y)


class Relabelled(InMemoryDataset):
    """Counts labels from 1."""

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        return Batch(x, None if y is None else y + 1)


class Double(InMemoryDataset):
    """float64."""

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        return Batch(x.double(), y)


def as_class(kind: type[InMemoryDataset]) -> InMemoryDataset:
    """Moons, by another class."""
    data = moons(n=50)
    return kind(data.array, units=data.units, labels=data.labels, classes=data.classes)


count = 0


def another() -> InMemoryDataset:
    """Moons of another seed each time."""
    global count
    count += 1
    return moons(n=50, seed=count)


class Streams(InMemoryDataset):
    """Says how many batches it has given."""

    given = 0

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        self.given += 1
        return Batch(x + self.given, y)


class Cumulative(InMemoryDataset):
    """An item depends on the smallest index that was read since it was opened."""

    least = 10**9

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        self.least = min(self.least, min(int(i) for i in indices))
        return Batch(x + 0.001 * self.least, y)


class Shares(InMemoryDataset):
    """Gives its own memory away."""

    def batch(self, indices: Any) -> Batch:
        if not hasattr(self, "kept"):
            self.kept = {}
        key = tuple(int(i) for i in indices)
        if key not in self.kept:
            self.kept[key] = super().batch(indices)
        return self.kept[key]


DATASETS: dict[str, tuple[Callable[[], InMemoryDataset], str, str]] = {
    "Shaken": (lambda: as_class(Shaken), "repeatable", "nothing may be random here"),
    "Sorted": (lambda: as_class(Sorted), "order", "not the items asked for, in order"),
    "SortsLabels": (lambda: as_class(SortsLabels), "order", "in order, with their labels"),
    "Relabelled": (lambda: as_class(Relabelled), "labels", "labels leave [0, classes)"),
    "Double": (lambda: as_class(Double), "shape", "not float32"),
    "another": (another, "restart", "fix a seed"),
    "Streams": (lambda: as_class(Streams), "repeatable", "nothing may be random here"),
    "Cumulative": (lambda: as_class(Cumulative), "middle", "depends on what was read before it"),
    "Shares": (lambda: as_class(Shares), "copies", "shares memory with the data"),
}


@pytest.mark.parametrize("name", DATASETS)
def test_faulty_datasets(name: str) -> None:
    """Repeatability, order, labels, dtype."""
    data, check, words = DATASETS[name]
    assert words in failure(data, check, kind="dataset").cause


def centres(x: Tensor, y: Tensor) -> float:
    """Changes what it was given."""
    return float((x.sub_(y.mean(0)).mean(0)).norm())


def mean_distance(samples: Tensor, reference: Tensor) -> float:
    """Sound."""
    return float((samples.mean(0) - reference.mean(0)).norm())


METRICS: dict[str, tuple[Callable[[Tensor, Tensor], Any], str, str]] = {
    "a tensor": (lambda x, y: torch.tensor(1.0), "number", "return float(value)"),
    "nan": (lambda x, y: math.nan, "number", "return float(value)"),
    "in order": (lambda x, y: float((x[0] - y[0]).norm()), "exchangeable", "depends on the order"),
    "centres": (centres, "inputs", "in-place change"),
    "a random part": (
        lambda x, y: float((x[torch.randperm(len(x))[:100]].mean(0) - y.mean(0)).norm()),
        "repeatable",
        "without a seed",
    ),
    "constant": (lambda x, y: 1.0, "tells apart", "look like the reference"),
}


@pytest.mark.parametrize("name", METRICS)
def test_faulty_metrics(name: str) -> None:
    """A number, exchangeable, that tells laws apart."""
    metric, check, words = METRICS[name]
    assert words in failure(metric, check, kind="metric").cause


def test_a_sound_metric() -> None:
    """What the faulty ones are not."""
    assert verify.verify(mean_distance, kind="metric").passed
