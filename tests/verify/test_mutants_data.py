"""Planted faults of data sets and metrics fail the check of the violated law."""

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
    """Moons as an instance of another class."""
    data = moons(n=50)
    return kind(data.array, units=data.units, labels=data.labels, classes=data.classes)


count = 0


def another() -> InMemoryDataset:
    """Moons with another seed at each call."""
    global count
    count += 1
    return moons(n=50, seed=count)


class Streams(InMemoryDataset):
    """Adds the number of batches read."""

    given = 0

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        self.given += 1
        return Batch(x + self.given, y)


class Cumulative(InMemoryDataset):
    """Adds the smallest index read so far."""

    least = 10**9

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        self.least = min(self.least, min(int(i) for i in indices))
        return Batch(x + 0.001 * self.least, y)


class Shares(InMemoryDataset):
    """Returns the same tensors again."""

    def batch(self, indices: Any) -> Batch:
        if not hasattr(self, "kept"):
            self.kept = {}
        key = tuple(int(i) for i in indices)
        if key not in self.kept:
            self.kept[key] = super().batch(indices)
        return self.kept[key]


DATASETS: dict[str, tuple[Callable[[], InMemoryDataset], str, str]] = {
    "Shaken": (lambda: as_class(Shaken), "repeatable", "batch() must not be random"),
    "Sorted": (lambda: as_class(Sorted), "order", "does not have the requested items"),
    "SortsLabels": (lambda: as_class(SortsLabels), "order", "items and labels in order"),
    "Relabelled": (lambda: as_class(Relabelled), "labels", "labels are not int64 in [0, classes)"),
    "Double": (lambda: as_class(Double), "shape", "not float32"),
    "another": (another, "restart", "fix a seed"),
    "Streams": (lambda: as_class(Streams), "repeatable", "batch() must not be random"),
    "Cumulative": (lambda: as_class(Cumulative), "middle", "depends on the items read before it"),
    "Shares": (lambda: as_class(Shares), "copies", "shares memory with the data"),
}


@pytest.mark.parametrize("name", DATASETS)
def test_faulty_datasets(name: str) -> None:
    """Each fault of a data set fails the check of the law that it violates."""
    data, check, words = DATASETS[name]
    assert words in failure(data, check, kind="dataset").cause


def centres(x: Tensor, y: Tensor) -> float:
    """A metric that changes its inputs in place."""
    return float((x.sub_(y.mean(0)).mean(0)).norm())


def mean_distance(samples: Tensor, reference: Tensor) -> float:
    """A correct metric."""
    return float((samples.mean(0) - reference.mean(0)).norm())


METRICS: dict[str, tuple[Callable[[Tensor, Tensor], Any], str, str]] = {
    "a tensor": (lambda x, y: torch.tensor(1.0), "number", "return float(value)"),
    "nan": (lambda x, y: math.nan, "number", "return float(value)"),
    "in order": (lambda x, y: float((x[0] - y[0]).norm()), "exchangeable", "depends on the order of the samples"),
    "centres": (centres, "inputs", "changes its inputs in place"),
    "a random part": (
        lambda x, y: float((x[torch.randperm(len(x))[:100]].mean(0) - y.mean(0)).norm()),
        "repeatable",
        "draws from the global generator",
    ),
    "constant": (lambda x, y: 1.0, "tells apart", "the metric is not sensitive"),
}


@pytest.mark.parametrize("name", METRICS)
def test_faulty_metrics(name: str) -> None:
    """Each fault of a metric fails the check of the law that it violates."""
    metric, check, words = METRICS[name]
    assert words in failure(metric, check, kind="metric").cause


def test_a_sound_metric() -> None:
    """A metric without a fault passes all checks."""
    assert verify.verify(mean_distance, kind="metric").passed
