"""Measurement of one metric: its value, interval and floor, and its paired difference between two models."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from sdekit.errors import SdekitError
from sdekit.registry import build

from .evaluation_result import Difference, MetricRow
from .feature_extraction import Extractor
from .random_halves import CONFIDENCE, interval, standard_error
from .traits import MetricTraits, traits_of

NORMAL = 10**6
"""Degrees of freedom of a standard error that is a formula: Student's t is then the normal distribution."""
INCEPTION_TITLES = {"frechet": "FID", "kernel": "KID"}
"""Titles of metrics of the features of the Inception network."""


class ItemSets(NamedTuple):
    """Items to compare, or their features.

    Attributes:
        samples: Samples (n, *).
        reference: Real items (m, *).
        pool: The reference and further real items (k, *), for the floor.
        against: Samples (n, *) of another model, or None.
    """

    samples: Tensor
    reference: Tensor
    pool: Tensor
    against: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric with its options and traits.

    Arguments:
        name: Registered name.
        options: Values of all options.
        function: Function `(samples, reference) -> float`, with the options bound.
        traits: Traits of the metric.
        title: Name in tables.
        extractor: Name of the extractor whose features the metric compares, or None for the items themselves.
    """

    name: str
    options: dict[str, Any]
    function: Callable[[Tensor, Tensor], float]
    traits: MetricTraits
    title: str
    extractor: str | None

    def __call__(self, samples: Tensor, reference: Tensor) -> float:
        try:
            value = float(self.function(samples, reference))
        except SdekitError:
            raise
        except Exception as error:
            raise SdekitError(f"metric {self.name!r} failed: {type(error).__name__}: {error}") from error
        if not math.isfinite(value):
            sizes = f"{len(samples)} samples and {len(reference)} reference items"
            raise SdekitError(f"metric {self.name!r} returned {value} for {sizes}")
        return value


def resolve_metric(name: str, options: Mapping[str, Any], extractor: Extractor) -> Metric:
    """Build a metric, with the name of its extractor in its title."""
    function = build("metric", name, **options)
    traits = traits_of(function)
    title = traits.title or name
    of_features = traits.space == "features"
    if of_features and extractor.inception and name in INCEPTION_TITLES:
        title = INCEPTION_TITLES[name]
    elif of_features:
        title = f"{title} ({extractor.name})"
    return Metric(
        name=name,
        options=dict(function.keywords),
        function=function,
        traits=traits,
        title=title,
        extractor=extractor.name if of_features else None,
    )


def misfit(metric: Metric, kind: str, samples: Tensor, reference: Tensor) -> str | None:
    """Return the reason why a metric does not fit the kind of data or the numbers of items, or None if it fits."""
    traits, numbers = metric.traits, samples[0].numel()
    if traits.kinds and kind not in traits.kinds:
        return (
            f"metric {metric.name!r} is for data of kind {' or '.join(traits.kinds)}, and the data are of kind {kind}"
        )
    if numbers < traits.least_columns:
        return f"metric {metric.name!r} needs items of at least {traits.least_columns} numbers, got {numbers}"
    for name, x in (("samples", samples), ("reference items", reference)):
        if len(x) < traits.least:
            return f"metric {metric.name!r} needs at least {traits.least} {name}, got {len(x)}"
    return None


def measure(metric: Metric, items: ItemSets, seed: int) -> MetricRow:
    """Compute value, interval and floor of a metric."""
    samples, reference = items.samples, items.reference
    traits, n, m = metric.traits, len(samples), len(reference)
    value = metric(samples, reference)
    if traits.standard_error is not None:
        error, splits = traits.standard_error(value, n, m), NORMAL
    else:
        splits = traits.splits
        error = standard_error(lambda a, b: metric(samples[a], reference[b]), n, m, splits=splits, seed=seed)
    low, high = interval(value, error, splits, n=n, low=traits.low, high=traits.high, squared=traits.squared)
    floor, floor_low, floor_high, floor_n = _floor(metric, items.pool, n, m, seed)
    return MetricRow(
        metric=metric.name,
        title=metric.title,
        value=value,
        low=low,
        high=high,
        floor=floor,
        floor_low=floor_low,
        floor_high=floor_high,
        n=n,
        reference_n=m,
        floor_n=floor_n,
        unit=traits.unit,
        better=traits.better,
        extractor=metric.extractor,
        options=metric.options,
    )


def _floor(
    metric: Metric, pool: Tensor, n: int, m: int, seed: int
) -> tuple[float | None, float | None, float | None, int]:
    """Return the mean of a metric over disjoint random subsets of real items, its 95% range, and the size of a subset.

    The range is that of one further value: mean +- t s (1 + 1/r)^(1/2) for r values with standard deviation s.
    """
    traits = metric.traits
    fraction = min(1.0, len(pool) / (n + m))
    a, b = int(n * fraction), int(m * fraction)
    if min(a, b) < traits.least:
        return None, None, None, 0
    generator, values = torch.Generator().manual_seed(seed + 1), np.empty(traits.repeats)
    for i in range(traits.repeats):
        order = torch.randperm(len(pool), generator=generator)
        values[i] = metric(pool[order[:a]], pool[order[a : a + b]])
    r, mean = len(values), float(values.mean())
    reach = float(student.ppf((1 + CONFIDENCE) / 2, r - 1) * values.std(ddof=1) * (1 + 1 / r) ** 0.5)
    low, high = mean - reach, mean + reach
    return (
        mean,
        low if traits.low is None else max(low, traits.low),
        high if traits.high is None else min(high, traits.high),
        a,
    )


def measure_difference(metric: Metric, items: ItemSets, seed: int) -> Difference:
    """Compute the paired difference of two models: each half contains the same seeds of both."""
    traits, samples, reference, against = metric.traits, items.samples, items.reference, items.against
    assert against is not None
    value, other = metric(samples, reference), metric(against, reference)
    if traits.standard_error is not None:
        errors = [traits.standard_error(x, len(samples), len(reference)) for x in (value, other)]
        error, splits = (errors[0] ** 2 + errors[1] ** 2) ** 0.5, NORMAL
    else:
        splits = traits.splits
        error = standard_error(
            lambda a, b: metric(samples[a], reference[b]) - metric(against[a], reference[b]),
            *(len(samples), len(reference)),
            splits=splits,
            seed=seed,
        )
    low, high = interval(value - other, error, splits, n=len(samples))
    better = None
    if isinstance(traits.better, str) and (low > 0 or high < 0):
        better = "first" if (low > 0) == (traits.better == "higher") else "second"
    elif not isinstance(traits.better, str) and (low > 0 or high < 0):
        better = "first" if abs(value - traits.better) < abs(other - traits.better) else "second"
    return Difference(
        metric=metric.name,
        title=metric.title,
        value=value,
        other=other,
        difference=value - other,
        low=low,
        high=high,
        better=better,
    )
