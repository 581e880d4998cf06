"""Checks of data sets, and of the metrics that compare samples: shapes, ranges, repeatability."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from sdekit.data import Batch, Dataset
from sdekit.verify.common.check_results import Check, Finding, at_most, same

Open = Callable[[], Dataset]
Metric = Callable[..., float]


def checks(data: Open, *, quick: bool = False) -> list[Check]:
    """Return all checks of one data set. The checks open the data set several times.

    Arguments:
        data: Function without arguments that opens the data set.
        quick: Has no effect, because all checks are fast.
    """
    return [
        Check("length", "len(data) >= 1; batch([len(data) - 1]) has one item", partial(length, data)),
        Check("shape", "batch(indices).x is (B, *shape), float32", partial(shape, data)),
        Check("labels", "y is (B,) int64 in [0, classes), or None if classes = 0", partial(labels, data)),
        Check("range", "low <= data <= high; model units have a root mean square of order 1", partial(span, data)),
        Check("units", "to_model(to_data(x)) = x", partial(units, data)),
        Check("order", "row i of batch(indices) is item indices[i]", partial(order, data)),
        Check("repeatable", "batch(i) = batch(i)", partial(repeatable, data)),
        Check("restart", "item i is the same after opening again", partial(restart, data)),
        Check("middle", "item i is the same if reading starts in the middle", partial(middle, data)),
        Check("copies", "changing a batch does not change the data", partial(copies, data)),
    ]


def spread_indices(data: Dataset, n: int = 256) -> np.ndarray:
    """Return at most n indices, spread evenly over all items."""
    return np.unique(np.linspace(0, len(data) - 1, min(n, len(data))).astype(np.int64))


def length(data: Open) -> Finding:
    """Check that there is at least one item, and that the last item can be read."""
    dataset = data()
    if len(dataset) < 1:
        return Finding(False, 0, "at least 1", "the data set is empty: raise InputError when it is opened")
    cause = "the last index gives no item: correct len(data) or batch()"
    return same(len(dataset.batch([len(dataset) - 1]).x), 1, cause)


def shape(data: Open) -> Finding:
    """Check that items have the declared shape and are float32, for one item and for several."""
    dataset = data()
    for n in (1, 3):
        x = dataset.batch(spread_indices(dataset, n)).x
        measured, expected = f"{tuple(x.shape[1:])} {x.dtype}", f"{tuple(dataset.shape)} torch.float32"
        if measured != expected:
            cause = "items do not have the declared shape, or are not float32: correct `shape` or convert the items"
            return Finding(False, measured, expected, cause)
    kind = "vector" if len(dataset.shape) == 1 else "image"
    return same(dataset.kind, kind, f"items of shape {dataset.shape} must have the kind {kind!r}: correct `kind`")


def labels(data: Open) -> Finding:
    """Check that labels are int64 in [0, classes), and that there are as many class names as classes."""
    dataset = data()
    y = dataset.batch(spread_indices(dataset)).y
    if not dataset.classes or y is None:
        return Finding(
            y is None and not dataset.classes,
            "none" if y is None else "labels",
            "none" if not dataset.classes else "labels",
            "`classes` and y disagree: return labels if and only if classes is above 0",
        )
    if dataset.class_names and len(dataset.class_names) != dataset.classes:
        cause = "`class_names` and `classes` disagree: give one name to each class"
        return Finding(False, len(dataset.class_names), f"{dataset.classes} names", cause)
    inside = y.dtype == torch.int64 and 0 <= int(y.min()) and int(y.max()) < dataset.classes
    measured = f"{int(y.min())} to {int(y.max())} {y.dtype}"
    cause = "labels are not int64 in [0, classes): number the classes from 0"
    return Finding(inside, measured, f"0 to {dataset.classes - 1} torch.int64", cause)


def span(data: Open) -> Finding:
    """Check that data are finite, within the declared range, and of order 1 in the model's units."""
    dataset = data()
    x = dataset.batch(spread_indices(dataset)).x
    if not x.isfinite().all():
        return Finding(False, "not finite", "finite", "the data contain nan or infinity: remove such items")
    values = dataset.units.to_data(x)
    low, high = dataset.units.low, dataset.units.high
    margin = 1e-4 * ((high or 0) - (low or 0))
    if (low is not None and values.min() < low - margin) or (high is not None and values.max() > high + margin):
        cause = "values are outside the range from units.low to units.high: correct the range"
        return Finding(False, f"{values.min():.4g} to {values.max():.4g}", f"{low} to {high}", cause)
    size = float(x.square().mean().sqrt())
    cause = "the data are too large or too small in the model's units: set units.shift and units.scale"
    return Finding(0.05 < size < 20, size, "a root mean square of 0.05 to 20", cause)


def units(data: Open) -> Finding:
    """Check that converting data to the user's units and back changes nothing."""
    dataset = data()
    x = dataset.batch(spread_indices(dataset, 16)).x
    difference = float((dataset.units.to_model(dataset.units.to_data(x)) - x).abs().max())
    return at_most(difference, 1e-4, "to_data is not the inverse of to_model: correct one of them", "difference ")


def order(data: Open) -> Finding:
    """Check that a batch has the requested items and labels in the requested order, including repeated ones."""
    dataset = data()
    indices = spread_indices(dataset, 5)[::-1].tolist()
    indices.append(indices[0])
    rows = [dataset.batch([i]) for i in indices]
    y = None if rows[0].y is None else torch.cat([row.y for row in rows if row.y is not None])
    separate = Batch(torch.cat([row.x for row in rows]), y)
    cause = "a batch does not have the requested items and labels in order: do not sort or drop indices"
    return _compare(separate, dataset.batch(indices), cause)


def _compare(one: Batch, two: Batch, cause: str) -> Finding:
    """Compare items and labels of two batches."""
    same_labels = one.y is None or (two.y is not None and torch.equal(one.y, two.y))
    equal = torch.equal(one.x, two.x) and same_labels
    measured = "equal" if equal else "other items" if same_labels else "other labels"
    return same(measured, "equal", cause)


def repeatable(data: Open) -> Finding:
    """Check that a batch is the same when it is read again, after other batches and with other global seeds."""
    dataset = data()
    first = dataset.batch(spread_indices(dataset))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        dataset.batch([0])
        second = dataset.batch(spread_indices(dataset))
    return _compare(first, second, "an item changes from one call to the next: batch() must not be random")


def restart(data: Open) -> Finding:
    """Check that items are the same after the data set is opened again, so that a training run can resume."""
    one, two = data(), data()
    cause = "items differ after opening the data set again: fix a seed"
    return _compare(one.batch(spread_indices(one)), two.batch(spread_indices(one)), cause)


def middle(data: Open) -> Finding:
    """Check that an item does not depend on the items read before it, so that a run can resume within an epoch."""
    whole, reopened = data(), data()
    indices = spread_indices(whole)
    late = indices[len(indices) // 2 :]
    x, y = whole.batch(indices)
    rest = Batch(x[-len(late) :], None if y is None else y[-len(late) :])
    cause = "an item depends on the items read before it: compute it from its index only"
    return _compare(rest, reopened.batch(late), cause)


def copies(data: Open) -> Finding:
    """Check that changing a batch in place does not change the data."""
    dataset = data()
    first = dataset.batch(spread_indices(dataset, 8))
    copy = Batch(first.x.clone(), None if first.y is None else first.y.clone())
    first.x.zero_()
    if first.y is not None:
        first.y.zero_()
    return _compare(copy, dataset.batch(spread_indices(dataset, 8)), "a batch shares memory with the data: copy it")


def metric_checks(metric: Metric, *, quick: bool = False) -> list[Check]:
    """Return all checks of one metric.

    Arguments:
        metric: Function `metric(samples, reference)` that returns a float.
        quick: Has no effect, because all checks are fast.
    """
    return [
        Check("number", "metric(samples, reference) is a finite float", partial(number, metric)),
        Check("exchangeable", "the value does not depend on the order of the samples", partial(exchangeable, metric)),
        Check("tells apart", "|metric(shifted) - metric(equal)| > 2 |change by chance|", partial(tells_apart, metric)),
        Check("inputs", "samples and reference are not changed", partial(unchanged, metric)),
        Check("repeatable", "metric(x, r) = metric(x, r)", partial(metric_repeatable, metric)),
    ]


def _normal(seed: int, shift: float = 0.0) -> torch.Tensor:
    """Draw 200 points of N(shift, 1) in two dimensions."""
    return torch.randn(200, 2, generator=torch.Generator().manual_seed(seed)) + shift


def number(metric: Metric) -> Finding:
    """Check that the value is a finite Python float."""
    value = metric(_normal(0), _normal(1))
    passed = type(value) is float and math.isfinite(value)
    return Finding(passed, f"{value!r}", "a finite float", "the value is not a finite float: return float(value)")


def exchangeable(metric: Metric) -> Finding:
    """Check that the value is the same for samples in reverse order."""
    value = metric(_normal(0), _normal(1))
    difference = abs(metric(_normal(0).flip(0), _normal(1)) - value)
    cause = "the value depends on the order of the samples: do not pair samples with reference rows"
    return at_most(difference, 1e-4 * (1 + abs(value)), cause, "difference ")


def tells_apart(metric: Metric) -> Finding:
    """Check that a shift by 3 standard deviations and a correlation change the value more than new samples do."""
    equal, redrawn = metric(_normal(0), _normal(1)), metric(_normal(2), _normal(1))
    samples = _normal(0, 3.0)
    samples[:, 1] += 2 * (samples[:, 0] - 3)
    shifted = metric(samples, _normal(1))
    gap, chance = abs(shifted - equal), abs(redrawn - equal)
    cause = "shifted and correlated samples get the value of samples without both: the metric is not sensitive"
    return Finding(gap > 2 * chance and gap > 0, float(gap), f"more than {2 * chance:.3g}", cause)


def unchanged(metric: Metric) -> Finding:
    """Check that neither the samples nor the reference is changed in place."""
    samples, reference = _normal(0), _normal(1)
    metric(samples, reference)
    changed = not (torch.equal(samples, _normal(0)) and torch.equal(reference, _normal(1)))
    cause = "the metric changes its inputs in place: compute a new tensor"
    return same("changed" if changed else "unchanged", "unchanged", cause)


def metric_repeatable(metric: Metric) -> Finding:
    """Check that the value does not depend on the global random generator."""
    values = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            values.append(metric(_normal(0), _normal(1)))
    cause = "the metric draws from the global generator: draw from a generator with a fixed seed"
    return at_most(abs(values[0] - values[1]), 0.0, cause, "difference ")
