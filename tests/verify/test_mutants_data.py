"""Planted faults of data sets and metrics fail the check of the violated law."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sdekit import verify
from sdekit.data import Batch, Conditions, InMemoryDataset, Units, moons
from sdekit.evaluation import metric_traits

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


class OtherLabels(InMemoryDataset):
    """labels_of sorts the indices."""

    def batch(self, indices: Any) -> Batch:
        return Batch(super().batch(indices).x, super().labels_of(indices))

    def labels_of(self, indices: Any) -> Tensor | None:
        return super().labels_of(sorted(indices))


class Racing(InMemoryDataset):
    """Two threads share the list of indices."""

    concurrent = True

    def batch(self, indices: Any) -> Batch:
        self.current = indices
        time.sleep(1e-4)
        return super().batch(self.current)


class Wrapping(InMemoryDataset):
    """An index out of range starts again from 0."""

    def batch(self, indices: Any) -> Batch:
        return super().batch(np.asarray(indices) % len(self.array))

    def labels_of(self, indices: Any) -> Tensor | None:
        return super().labels_of(np.asarray(indices) % len(self.array))


class Reseeding(InMemoryDataset):
    """Sets the global seed of NumPy."""

    def batch(self, indices: Any) -> Batch:
        np.random.seed(0)
        return super().batch(indices)


class LargeBatches(InMemoryDataset):
    """Sorts batches above 40 items."""

    def batch(self, indices: Any) -> Batch:
        return super().batch(sorted(indices) if len(indices) > 40 else indices)


class OneWrong(InMemoryDataset):
    """One item has a wrong label."""

    def labels_of(self, indices: Any) -> Tensor | None:
        y = super().labels_of(indices)
        return None if y is None else torch.where(torch.as_tensor(np.asarray(indices)) == 37, 2, y)


class Overwriting(InMemoryDataset):
    """The next batch is written into the memory of the last one."""

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        if not hasattr(self, "memory"):
            self.memory: dict[int, Tensor] = {}
        return Batch(self.memory.setdefault(len(x), torch.empty_like(x)).copy_(x), y)


DATASETS: dict[str, tuple[Callable[[], InMemoryDataset], str, str]] = {
    "Shaken": (lambda: as_class(Shaken), "repeatable", "batch() must not be random"),
    "Sorted": (lambda: as_class(Sorted), "order", "does not have the requested items"),
    "SortsLabels": (lambda: as_class(SortsLabels), "order", "items and labels in order"),
    "Relabelled": (lambda: as_class(Relabelled), "labels", "labels are not int64 in [0, classes)"),
    "Double": (lambda: as_class(Double), "shape", "not float32"),
    "another": (another, "restart", "fix a seed"),
    "Streams": (lambda: as_class(Streams), "repeatable", "batch() must not be random"),
    "Cumulative": (lambda: as_class(Cumulative), "middle", "depends on the items read before it"),
    "OtherLabels": (lambda: as_class(OtherLabels), "labels_of", "other labels than batch()"),
    "Racing": (lambda: as_class(Racing), "threads", "threads disturb each other"),
    "Wrapping": (lambda: as_class(Wrapping), "indices", "the index len(data) gives an item"),
    "Reseeding": (lambda: as_class(Reseeding), "globals", "NumPy's global generator"),
    "LargeBatches": (lambda: as_class(LargeBatches), "order", "do not sort or drop indices"),
    "OneWrong": (lambda: as_class(OneWrong), "labels", "labels are not int64 in [0, classes)"),
    "Overwriting": (lambda: as_class(Overwriting), "copies", "the next batch overwrites the last one"),
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
    "in order": (lambda x, y: float((x[0] - y[0]).norm()), "exchangeable", "depends on the order of the rows"),
    "centres": (centres, "inputs", "changes its inputs in place"),
    "a random part": (
        lambda x, y: float((x[torch.randperm(len(x))[:100]].mean(0) - y.mean(0)).norm()),
        "repeatable",
        "draws from the global generator",
    ),
    "constant": (lambda x, y: 1.0, "tells apart", "the metric is not sensitive"),
    "two columns": (lambda x, y: mean_distance(x.flatten(1)[:, :2], y.flatten(1)[:, :2]), "columns", "on column 2"),
    "first rows": (lambda x, y: mean_distance(x[:100], y), "rows", "last third of the samples"),
    "norm": (lambda x, y: float(x.square().mean()), "reference", "use both"),
    "equal numbers": (lambda x, y: float((x.sort(0).values - y.sort(0).values).abs().mean()), "number", "exception"),
    "one row of an image": (
        lambda x, y: mean_distance(x.flatten(2)[..., 0], y.flatten(2)[..., 0]) if x.ndim > 2 else mean_distance(x, y),
        "axes",
        "a part of the height",
    ),
    "higher": (metric_traits(better="higher")(lambda x, y: mean_distance(x, y)), "direction", "correct `better`"),
    "share": (metric_traits(high=0.5)(lambda x, y: mean_distance(x, y)), "direction", "outside the declared range"),
    "reseeds": (lambda x, y: float(torch.manual_seed(0) is None) + mean_distance(x, y), "repeatable", "of its own"),
}


@pytest.mark.parametrize("name", METRICS)
def test_faulty_metrics(name: str) -> None:
    """Each fault of a metric fails the check of the law that it violates."""
    metric, check, words = METRICS[name]
    assert words in failure(metric, check, kind="metric").cause


def random_part(samples: Tensor, reference: Tensor) -> float:
    """A correct metric of 100 random rows."""
    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:100]
    return mean_distance(samples[rows], reference)


@pytest.mark.parametrize("metric", [mean_distance, random_part])
def test_a_sound_metric(metric: Callable[[Tensor, Tensor], float]) -> None:
    """A metric without a fault passes all checks, also if it draws a random part of the samples."""
    verify.verify(metric, kind="metric").raise_on_failure()


def test_sound_datasets() -> None:
    """Data with a large constant column, with numbers as conditions, or with one item pass all checks."""
    array = np.stack([np.linspace(-1, 1, 40), np.full(40, 1e9 + 7)], 1)
    units = Units(shift=(0.0, 1e9 + 7))
    numbers = Conditions(array[:, :1], ("u",), Units())
    for data in (InMemoryDataset(array, units=units, conditions=numbers), InMemoryDataset(array[:1], units=units)):
        verify.verify(data).raise_on_failure()


@pytest.mark.parametrize("shape", [(2, 9), (1, 3, 4, 5)])
def test_data_of_sequences_and_volumes(shape: tuple[int, ...]) -> None:
    """The shape of the items determines the kind that verify expects."""
    data = InMemoryDataset(np.random.default_rng(0).normal(size=(6, *shape)), units=Units())
    verify.verify(data, quick=True).raise_on_failure()
