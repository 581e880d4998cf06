"""Data sets, and the metrics that compare samples: length, range, repeatability."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from sdekit.data import Batch, Dataset
from sdekit.verify.common.report import Check, Finding, at_most, same

Open = Callable[[], Dataset]


def checks(data: Open, *, quick: bool = False) -> list[Check]:
    """All checks of one data set, `data()`; it is opened more than once."""
    return [
        Check("length", "len(data) items, the last one there", partial(length, data)),
        Check("shape", "batch(indices).x is (B, *shape), float32", partial(shape, data)),
        Check("labels", "y is (B,) int64 in [0, classes), or None where classes = 0", partial(labels, data)),
        Check("range", "low <= data <= high, mean and std of the model's units of order 1", partial(span, data)),
        Check("units", "to_model(to_data(x)) = x", partial(units, data)),
        Check("order", "batch(indices)^i is item indices_i", partial(order, data)),
        Check("repeatable", "batch(i) = batch(i)", partial(repeatable, data)),
        Check("restart", "opened again, item i is the same", partial(restart, data)),
        Check("middle", "opened again and read from the middle, item i is the same", partial(middle, data)),
        Check("copies", "what the caller does to a batch does not reach the data", partial(copies, data)),
    ]


def some(data: Dataset, n: int = 256) -> np.ndarray:
    """At most n indices, spread over all items."""
    return np.unique(np.linspace(0, len(data) - 1, min(n, len(data))).astype(np.int64))


def length(data: Open) -> Finding:
    """There is something, and the last item can be had."""
    opened = data()
    if len(opened) < 1:
        return Finding(False, 0, "at least 1", "it is empty")
    return same(len(opened.batch([len(opened) - 1]).x), 1, "the last index gives no item")


def shape(data: Open) -> Finding:
    """As declared, for one item and for several."""
    opened = data()
    for n in (1, 3):
        x = opened.batch(some(opened, n)).x
        told, expected = f"{tuple(x.shape[1:])} {x.dtype}", f"{tuple(opened.shape)} torch.float32"
        if told != expected:
            return Finding(False, told, expected, "items are not shaped as `shape` declares, or not float32")
    kind = "vector" if len(opened.shape) == 1 else "image"
    return same(opened.kind, kind, f"items of shape {opened.shape} are of kind {kind!r}")


def labels(data: Open) -> Finding:
    """Within [0, classes), as many names as classes."""
    opened = data()
    y = opened.batch(some(opened)).y
    if not opened.classes or y is None:
        return Finding(
            y is None and not opened.classes,
            "none" if y is None else "labels",
            "none" if not opened.classes else "labels",
            "classes and y disagree on whether there are labels",
        )
    inside = y.dtype == torch.int64 and 0 <= int(y.min()) and int(y.max()) < opened.classes
    if opened.class_names and len(opened.class_names) != opened.classes:
        return Finding(False, len(opened.class_names), f"{opened.classes} names", "class_names and classes disagree")
    told = f"{int(y.min())} to {int(y.max())} {y.dtype}"
    return Finding(inside, told, f"0 to {opened.classes - 1} torch.int64", "labels leave [0, classes)")


def span(data: Open) -> Finding:
    """Within the declared range, and fit for a network: neither constant nor far from unit size."""
    opened = data()
    x = opened.batch(some(opened)).x
    if not x.isfinite().all():
        return Finding(False, "not finite", "finite", "nan or infinity in the data")
    user = opened.units.to_data(x)
    low, high = opened.units.low, opened.units.high
    margin = 1e-4 * ((high or 0) - (low or 0))
    if (low is not None and user.min() < low - margin) or (high is not None and user.max() > high + margin):
        return Finding(
            False, f"{user.min():.4g} to {user.max():.4g}", f"{low} to {high}", "values leave units.low and units.high"
        )
    size = float(x.square().mean().sqrt())
    return Finding(
        0.05 < size < 20,
        size,
        "a root mean square of 0.05 to 20",
        "the model's units are far from unit size: set units.shift and units.scale",
    )


def units(data: Open) -> Finding:
    """To the user's units and back."""
    opened = data()
    x = opened.batch(some(opened, 16)).x
    back = opened.units.to_model(opened.units.to_data(x))
    return at_most(float((back - x).abs().max()), 1e-4, "to_data is not the inverse of to_model", "difference ")


def order(data: Open) -> Finding:
    """Items and labels by index, in the order asked for, one asked for twice included."""
    opened = data()
    indices = some(opened, 5)[::-1].tolist()
    indices.append(indices[0])
    rows = [opened.batch([i]) for i in indices]
    labels = None if rows[0].y is None else torch.cat([row.y for row in rows if row.y is not None])
    alone = Batch(torch.cat([row.x for row in rows]), labels)
    return _compared(alone, opened.batch(indices), "a batch is not the items asked for, in order, with their labels")


def _compared(one: Batch, two: Batch, cause: str) -> Finding:
    labels = one.y is None or (two.y is not None and torch.equal(one.y, two.y))
    told = "equal" if torch.equal(one.x, two.x) and labels else "other items" if labels else "other labels"
    return same(told, "equal", cause)


def repeatable(data: Open) -> Finding:
    """Asked twice, with other batches between and another state of the global generators."""
    opened = data()
    first = opened.batch(some(opened))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        opened.batch([0])
        second = opened.batch(some(opened))
    return _compared(first, second, "an item changes from one call to the next: nothing may be random here")


def restart(data: Open) -> Finding:
    """A training that resumes meets the same items."""
    one, two = data(), data()
    return _compared(one.batch(some(one)), two.batch(some(one)), "opened again, the items are others: fix a seed")


def middle(data: Open) -> Finding:
    """A training that resumes in the middle of an epoch meets what it would have met."""
    whole, again = data(), data()
    indices = some(whole)
    late = indices[len(indices) // 2 :]
    x, y = whole.batch(indices)
    rest = Batch(x[-len(late) :], None if y is None else y[-len(late) :])
    return _compared(rest, again.batch(late), "an item depends on what was read before it: items are read by index")


def copies(data: Open) -> Finding:
    """A batch belongs to the caller."""
    opened = data()
    first = opened.batch(some(opened, 8))
    kept = Batch(first.x.clone(), None if first.y is None else first.y.clone())
    first.x.zero_()
    if first.y is not None:
        first.y.zero_()
    return _compared(kept, opened.batch(some(opened, 8)), "a batch shares memory with the data: copy it")


def metric_checks(metric: Callable[..., float], *, quick: bool = False) -> list[Check]:
    """All checks of one metric, `metric(samples, reference) -> float`."""
    return [
        Check("number", "metric(samples, reference) is a finite float", partial(number, metric)),
        Check("exchangeable", "the order of the samples does not matter", partial(exchangeable, metric)),
        Check("tells apart", "equal laws and shifted ones give other values", partial(tells_apart, metric)),
        Check("inputs", "samples and reference stay as they were", partial(unchanged, metric)),
        Check("repeatable", "metric(x, r) = metric(x, r)", partial(metric_repeatable, metric)),
    ]


def _draws(seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(200, 2, generator=torch.Generator().manual_seed(seed)) + shift


def number(metric: Callable[..., float]) -> Finding:
    """A Python float."""
    value = metric(_draws(0), _draws(1))
    good = type(value) is float and math.isfinite(value)
    return Finding(good, f"{value!r}", "a finite float", "return float(value)")


def exchangeable(metric: Callable[..., float]) -> Finding:
    """Samples backwards."""
    off = abs(metric(_draws(0).flip(0), _draws(1)) - metric(_draws(0), _draws(1)))
    return at_most(off, 1e-4 * (1 + abs(metric(_draws(0), _draws(1)))), "the value depends on the order", "difference ")


def tells_apart(metric: Callable[..., float]) -> Finding:
    """By more than it moves between two draws of one law."""
    alike, again = metric(_draws(0), _draws(1)), metric(_draws(2), _draws(1))
    apart = metric(_draws(0, 3.0), _draws(1))
    gap, chance = abs(apart - alike), abs(again - alike)
    return Finding(
        gap > 2 * chance and gap > 0,
        float(gap),
        f"more than {2 * chance:.3g}",
        "samples shifted by 3 std look like the reference",
    )


def unchanged(metric: Callable[..., float]) -> Finding:
    """Nothing is altered in place."""
    given = _draws(0), _draws(1)
    metric(*given)
    changed = not (torch.equal(given[0], _draws(0)) and torch.equal(given[1], _draws(1)))
    return same("changed" if changed else "unchanged", "unchanged", "an in-place change of what it was given")


def metric_repeatable(metric: Callable[..., float]) -> Finding:
    """With another state of the global generators: what is drawn inside has a seed."""
    values = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            values.append(metric(_draws(0), _draws(1)))
    return at_most(abs(values[0] - values[1]), 0.0, "it draws without a seed of its own", "difference ")
