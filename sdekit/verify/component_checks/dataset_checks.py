"""Checks of data sets: shapes, labels, ranges, repeatability."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

from sdekit.data import Batch, Dataset, kind_of
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip
from sdekit.verify.common.side_effects import changed_globals

Open = Callable[[], Dataset]
MOST_ITEMS, MOST_NUMBERS = 2048, 2**21
"""Largest number of items, and of numbers in them, that a check reads."""


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
        Check("labels_of", "labels_of(indices) = batch(indices).y", partial(labels_alone, data)),
        Check(
            "indices",
            "a list, a range and an array of indices are equivalent; len(data) is out of range",
            partial(index_types, data),
        ),
        Check("threads", "two threads read the same as one, if data.concurrent", partial(threads, data)),
        Check("globals", "reading changes no global generator or setting", partial(side_effects, data)),
    ]


def spread_indices(data: Dataset, n: int = 256) -> np.ndarray:
    """Return at most n indices, spread evenly over all items."""
    return np.unique(np.linspace(0, len(data) - 1, min(n, len(data))).astype(np.int64))


def many_indices(data: Dataset) -> np.ndarray:
    """Return all indices, or as many spread ones as can be read in a short time."""
    return spread_indices(data, max(256, min(MOST_ITEMS, MOST_NUMBERS // int(np.prod(data.shape)))))


def length(data: Open) -> Finding:
    """Check that there is at least one item, and that the last item can be read."""
    dataset = data()
    if len(dataset) < 1:
        return Finding(False, 0, "at least 1", "the data set is empty: raise InputError when it is opened")
    cause = "the last index gives no item: correct len(data) or batch()"
    return same(len(dataset.batch([len(dataset) - 1]).x), 1, cause)


def shape(data: Open) -> Finding:
    """Check that every item has the declared shape and is float32 without a gradient, alone and in a batch."""
    dataset = data()
    for indices in (many_indices(dataset), *many_indices(dataset)[:512, None]):
        x = dataset.batch(indices).x
        measured, expected = (
            f"{tuple(x.shape)} {x.dtype}{', requires a gradient' * x.requires_grad}",
            f"{(len(indices), *dataset.shape)} torch.float32",
        )
        if measured != expected:
            cause = "items do not have the declared shape, or are not float32: correct `shape` or convert the items"
            return Finding(False, measured, expected, cause)
    kind = kind_of(tuple(dataset.shape))
    return same(dataset.kind, kind, f"items of shape {dataset.shape} must have the kind {kind!r}: correct `kind`")


def labels(data: Open) -> Finding:
    """Check that labels are int64 in [0, classes) with one name for each class, and conditions finite float32."""
    dataset = data()
    y, names = dataset.batch(many_indices(dataset)).y, dataset.class_names
    if dataset.condition_units is not None:
        width = len(dataset.condition_names)
        fits = y is not None and y.dtype == torch.float32 and bool(y.isfinite().all()) and dataset.classes == 0
        fits = fits and y is not None and tuple(y.shape[1:]) == (tuple(dataset.condition_shape) or (width,))
        measured = "none" if y is None else f"{tuple(y.shape[1:])} {y.dtype}"
        cause = "y does not have the form of `condition_names` or `condition_shape`, or is not finite: correct them"
        return Finding(fits, measured, f"{tuple(dataset.condition_shape) or (width,)} torch.float32, finite", cause)
    if not dataset.classes or y is None:
        return Finding(
            y is None and not dataset.classes,
            "none" if y is None else "labels",
            "none" if not dataset.classes else "labels",
            "`classes` and y disagree: return labels if and only if classes is above 0",
        )
    if names and len(set(names)) != dataset.classes:
        cause = "`class_names` and `classes` disagree: give each class one name of its own"
        return Finding(False, len(set(names)), f"{dataset.classes} names", cause)
    inside = y.dtype == torch.int64 and 0 <= int(y.min()) and int(y.max()) < dataset.classes
    measured = f"{int(y.min())} to {int(y.max())} {y.dtype}"
    cause = "labels are not int64 in [0, classes): number the classes from 0"
    return Finding(inside, measured, f"0 to {dataset.classes - 1} torch.int64", cause)


def span(data: Open) -> Finding:
    """Check that data are finite, within the declared range, and of order 1 in the model's units, in each column."""
    dataset = data()
    x = dataset.batch(many_indices(dataset)).x
    if not x.isfinite().all():
        return Finding(False, "not finite", "finite", "the data contain nan or infinity: remove such items")
    values = dataset.units.to_data(x)
    low, high = dataset.units.low, dataset.units.high
    margin = 1e-4 * ((high or 0) - (low or 0))
    if low is not None and high is not None and not low < high:
        cause = "units.low is not below units.high: correct the range"
        return Finding(False, f"{low} to {high}", "low < high", cause)
    if (low is not None and values.min() < low - margin) or (high is not None and values.max() > high + margin):
        cause = "values are outside the range from units.low to units.high: correct the range"
        return Finding(False, f"{values.min():.4g} to {values.max():.4g}", f"{low} to {high}", cause)
    size, spread = float(x.square().mean(0).max().sqrt()), float(x.std()) if x.numel() > 1 else 1.0
    cause = "the data are too large or too small in the model's units: set units.shift and units.scale"
    measured = f"root mean square {size:.3g}, standard deviation {spread:.3g}"
    return Finding(0.05 < size < 20 and spread > 0.02, measured, "0.05 to 20, above 0.02", cause)


def units(data: Open) -> Finding:
    """Check that converting data to the user's units and back changes nothing."""
    dataset = data()
    x = dataset.batch(spread_indices(dataset, 16)).x
    values = dataset.units.to_data(x)
    again = dataset.units.to_model(values)
    if dataset.units.quantiles:  # a value that is an interval of x becomes its centre, which has the same value
        x, again = (
            torch.from_numpy(dataset.units.to_data(part)) / float(np.abs(values).max() or 1) for part in (x, again)
        )
    difference = float((again - x).abs().max())
    rounding = float(np.max(np.spacing(np.abs(values).max()) / np.abs(dataset.units.scale)))  # of float32
    return at_most(
        difference, 1e-4 + rounding, "to_data is not the inverse of to_model: correct one of them", "difference "
    )


def order(data: Open) -> Finding:
    """Check that batches of 6 and of many items have the items and labels in the requested order, even if repeated."""
    dataset = data()
    few, cause = spread_indices(dataset, 5)[::-1].tolist(), "a batch does not have the requested items and labels"
    for indices in ([*few, few[0]], [*np.random.default_rng(0).permutation(spread_indices(dataset, 128)), *few]):
        rows = [dataset.batch([int(i)]) for i in indices]
        y = None if rows[0].y is None else torch.cat([row.y for row in rows if row.y is not None])
        separate = Batch(torch.cat([row.x for row in rows]), y)
        finding = _compare(separate, dataset.batch(indices), f"{cause} in order: do not sort or drop indices")
        if not finding.passed:
            break
    return finding


def _compare(one: Batch, two: Batch, cause: str) -> Finding:
    """Compare items and labels of two batches."""
    same_labels = one.y is None or (two.y is not None and torch.equal(one.y, two.y))
    equal = torch.equal(one.x, two.x) and same_labels
    measured = "equal" if equal else "other items" if same_labels else "other labels"
    return same(measured, "equal", cause)


def repeatable(data: Open) -> Finding:
    """Check that a batch is the same when it is read again, after many other batches and with other global seeds."""
    dataset = data()
    indices = spread_indices(dataset)
    with changed_globals(seed=1):
        first = dataset.batch(indices)
    with changed_globals(seed=2):
        for start in (0, *range(max(0, len(indices) - 8))):
            dataset.batch(indices[start : start + 8])
        mirrored = np.concatenate([indices[:1], indices[:0:-1]])  # it has the same length and first index
        x, y = dataset.batch(mirrored)
        second = Batch(x[mirrored.argsort()], None if y is None else y[mirrored.argsort()])
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
    """Check that neither changing a batch in place nor reading the next batch changes the data read before or after."""
    dataset = data()
    indices = np.arange(min(8, len(dataset)))
    first, y = dataset.batch(indices), dataset.labels_of(indices)
    copy = Batch(first.x.clone(), None if first.y is None else first.y.clone())
    dataset.batch(indices[::-1].copy())
    finding = _compare(copy, first, "the next batch overwrites the last one: return new tensors")
    for tensor in (first.x, first.y, y):
        if tensor is not None:
            tensor.detach().zero_()
    if not finding.passed:
        return finding
    return _compare(copy, dataset.batch(indices), "a batch shares memory with the data: copy it")


def labels_alone(data: Open) -> Finding:
    """Check that `labels_of` gives the labels of the batch, for unsorted and repeated indices too."""
    dataset = data()
    indices = np.random.default_rng(1).permutation(many_indices(dataset))
    indices = np.concatenate([indices, indices[:3]])
    y, alone = dataset.batch(indices).y, dataset.labels_of(indices)
    equal = alone is None if y is None else alone is not None and alone.dtype == y.dtype and torch.equal(alone, y)
    cause = "labels_of() gives other labels than batch(): correct it, or leave it out"
    return Finding(equal, "equal" if equal else "other labels", "equal", cause)


def index_types(data: Open) -> Finding:
    """Check that a list, a range and an array give equal batches, and that an index out of range raises IndexError."""
    dataset = data()
    n = min(4, len(dataset))
    array = np.arange(n)[::-1].copy()
    first = dataset.batch(array)
    if not np.array_equal(array, np.arange(n)[::-1]):
        cause = "batch() changes the array of indices, which belongs to the caller: copy it"
        return Finding(False, "changed", "unchanged", cause)
    for indices in (array.tolist(), range(n - 1, -1, -1), array.astype(np.int32)):
        cause = f"indices of type {type(indices).__name__} give another batch: convert them with np.asarray()"
        finding = _compare(first, dataset.batch(indices), cause)
        if not finding.passed:
            return finding
    try:
        dataset.batch([len(dataset)])
    except Exception:
        return Finding(True, "an exception", "an exception")
    cause = "the index len(data) gives an item: raise IndexError, and let len(data) be the number of items"
    return Finding(False, "an item", "an exception", cause)


def threads(data: Open) -> Finding:
    """Check that four threads that read at once get the same items, because training then reads batches ahead."""
    dataset = data()
    if not dataset.concurrent:
        return skip("the data set does not declare `concurrent`")
    indices = spread_indices(dataset, 64)
    parts = [np.roll(indices, shift) for shift in range(0, 4 * 7, 7)] * 4
    alone = [dataset.batch(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(dataset.batch, parts))
    cause = "threads disturb each other: share nothing in batch()"
    findings = [_compare(a, b, cause) for a, b in zip(alone, together, strict=True)]
    return next((finding for finding in findings if not finding.passed), findings[0])


def side_effects(data: Open) -> Finding:
    """Check that opening and reading leave the global random generators and torch's settings unchanged."""
    with changed_globals() as changed:
        dataset = data()
        dataset.batch(spread_indices(dataset, 8))
        dataset.labels_of(spread_indices(dataset, 8))
    cause = f"reading changes {' and '.join(changed)}, on which training depends: use a generator of the data set"
    return same(" and ".join(changed) or "unchanged", "unchanged", cause)
