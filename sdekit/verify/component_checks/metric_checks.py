"""Checks of metrics: sensitivity to every column and row, direction and range, order, repeatability."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, partial

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.evaluation import traits_of
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip
from sdekit.verify.common.side_effects import changed_globals

Metric = Callable[..., float]
COLUMNS, ROWS = 5, 240
"""Number of columns, and of rows of the samples; the reference has 40 more rows."""

ITEM = (2, 3, 4)
"""Shape of an image. No two axes are equal."""


class MetricTrial:
    """A metric, and its values for equal distributions, which several checks need.

    Arguments:
        metric: Function `metric(samples, reference)`.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric, self.traits = metric, traits_of(metric)
        self.declares_traits = hasattr(getattr(metric, "func", metric), "traits")

    def __call__(self, samples: Tensor, reference: Tensor) -> float:
        return self.metric(samples, reference)

    @cached_property
    def equal(self) -> tuple[float, float]:
        """The value for equal distributions, and its largest change if other samples are drawn."""
        values = [self.metric(normal(seed), real()) for seed in (0, 2, 3, 4)]
        return values[0], max(values) - min(values)


def checks(metric: Metric, *, quick: bool = False) -> list[Check]:
    """Return all checks of one metric.

    Samples and reference are drawn from N(0, I). A distorted column is 3 + 2 times a mixture of itself and of the first
    column, so that its mean, its variance and its correlations change.

    Arguments:
        metric: Function `metric(samples, reference)` that returns a float.
        quick: Has no effect, because all checks are fast.
    """
    laws: dict[str, tuple[str, Callable[[MetricTrial], Finding]]] = {
        "number": ("metric(samples, reference) is a finite float, also for images", number),
        "exchangeable": ("the value does not depend on the order of the rows", exchangeable),
        "tells apart": ("|metric(distorted) - metric(equal)| > 2 |change by chance|", tells_apart),
        "direction": ("equal distributions get a better value, from low to high", direction),
        "reference": ("the value depends on samples and reference", reference),
        "columns": ("a distortion of any one column changes the value", columns),
        "rows": ("a distortion of any third of the rows changes the value", rows),
        "axes": ("a distortion along any axis of images changes the value", axes),
        "inputs": ("samples and reference are not changed", unchanged),
        "repeatable": ("metric(x, r) = metric(x, r)", repeatable),
    }
    trial = MetricTrial(metric)
    first = Check("number", laws["number"][0], partial(number, trial))
    return [first, *(Check(k, law, partial(f, trial), (first,)) for k, (law, f) in laws.items() if k != "number")]


def normal(seed: int, n: int = ROWS, shape: tuple[int, ...] = (COLUMNS,)) -> Tensor:
    """Draw n items of N(0, I)."""
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def real(shape: tuple[int, ...] = (COLUMNS,)) -> Tensor:
    """Draw the reference, which has more items than the samples."""
    return normal(1, ROWS + 40, shape)


def distorted(x: Tensor, columns: slice = slice(None)) -> Tensor:
    """Shift, stretch and correlate some columns of x (n, d)."""
    x = x.clone()
    x[:, columns] = 3 + x[:, columns] + x[:, :1]
    return x


def number(trial: MetricTrial) -> Finding:
    """Check that the value is a finite float for vectors and images, with other numbers of samples and reference."""
    for kind, shape in (("vector", (COLUMNS,)), ("image", ITEM)):
        if trial.traits.kinds and kind not in trial.traits.kinds:
            continue
        try:
            value: object = trial(normal(0, shape=shape), real(shape))
        except InputError:
            if kind == "image":
                continue  # the metric refuses images
            raise
        if not isinstance(value, float) or not math.isfinite(value):
            cause = f"the value for {kind}s is not a finite float: return float(value)"
            return Finding(False, f"{value!r}", "a finite float", cause)
    return Finding(True, f"{value!r}", "a finite float")


def exchangeable(trial: MetricTrial) -> Finding:
    """Check that the order of the rows changes the value by at most as much as other samples change it.

    The value of a metric of random parts of the samples depends on the order by chance.
    """
    value, chance = trial.equal
    x, y = normal(0), real()
    orders = [trial(x.flip(0), y), trial(x, y.flip(0))]
    paired = [trial(rows, y[: len(x)]) for rows in (x, x.flip(0))]  # rows of equal numbers could be paired
    difference = max(abs(paired[0] - paired[1]), *(abs(other - value) for other in orders))
    cause = "the value depends on the order of the rows: do not pair samples with reference rows"
    return at_most(difference, 1e-4 * (1 + abs(value)) + chance, cause, "difference ")


def tells_apart(trial: MetricTrial) -> Finding:
    """Check that distorted samples change the value more than new samples without the distortion do."""
    value, chance = trial.equal
    gap = abs(trial(distorted(normal(0)), real()) - value)
    cause = "distorted samples get the value of other samples: the metric is not sensitive"
    return Finding(gap > 2 * chance and gap > 0, float(gap), f"more than {2 * chance:.3g}", cause)


def direction(trial: MetricTrial) -> Finding:
    """Check that values are in the declared range, and better for equal distributions than for distorted samples."""
    traits = trial.traits
    equal, worse = trial.equal[0], trial(distorted(normal(0)), real())
    low, high = traits.low, traits.high
    rounding = 1e-6 * (1 + abs(equal))
    if any(
        (low is not None and v < low - rounding) or (high is not None and v > high + rounding) for v in (equal, worse)
    ):
        cause = "a value is outside the declared range: correct `low` and `high` of the traits"
        return Finding(False, f"{equal:.4g} and {worse:.4g}", f"{low} to {high}", cause)
    if not trial.declares_traits:
        return skip("the metric declares no traits")
    if isinstance(traits.better, str):
        passed = (equal < worse) == (traits.better == "lower") and equal != worse
    else:
        passed = abs(equal - traits.better) < 0.5 * abs(worse - traits.better)
    cause = "distorted samples get a better value than samples of the same distribution: correct `better` of the traits"
    return Finding(passed, f"{equal:.4g}, distorted {worse:.4g}", f"better: {traits.better}", cause)


def reference(trial: MetricTrial) -> Finding:
    """Check that a distorted reference changes the value, and less so if the samples have the same distortion."""
    value, _ = trial.equal
    apart = abs(trial(normal(0), distorted(real())) - value)
    both = abs(trial(distorted(normal(0)), distorted(real())) - value)
    cause = "the value does not compare the samples with the reference: use both"
    return Finding(both < apart, float(both), f"less than {apart:.3g}", cause)


def columns(trial: MetricTrial) -> Finding:
    """Check that distorting any single column changes the value, so that no column is ignored."""
    value, x = trial.equal[0], normal(0)
    ignored = [str(j) for j in range(COLUMNS) if trial(distorted(x, slice(j, j + 1)), real()) == value]
    cause = f"the value does not depend on column {' and '.join(ignored)}: use all columns"
    return same(", ".join(ignored) or "none ignored", "none ignored", cause)


def rows(trial: MetricTrial) -> Finding:
    """Check that distorting any third of the samples or of the reference changes the value."""
    value, ignored = trial.equal[0], []
    for name, rows in (("samples", normal(0)), ("reference", real())):
        for third in range(3):
            part = slice(third * len(rows) // 3, (third + 1) * len(rows) // 3)
            for distortion in (distorted, lambda z: 0.1 * z, lambda z: 5 * z):  # a share may be equal by chance
                changed = rows.clone()
                changed[part] = distortion(changed[part])
                if trial(*((changed, real()) if name == "samples" else (normal(0), changed))) != value:
                    break
            else:
                ignored.append(f"the {('first', 'second', 'last')[third]} third of the {name}")
    cause = f"the value does not depend on {' and '.join(ignored[:2])}: use all rows, or a random part of them"
    return same(", ".join(ignored) or "none ignored", "none ignored", cause)


def axes(trial: MetricTrial) -> Finding:
    """Check that distorting the second half of an image along any axis changes the value."""
    if trial.traits.kinds and "image" not in trial.traits.kinds:
        return skip("the metric declares that it is for vectors")
    x, ignored = normal(0, shape=ITEM), []
    try:
        value = trial(x, real(ITEM))
    except InputError as error:
        return skip(str(error))
    for axis, name in ((1, "channels"), (2, "height"), (3, "width")):
        changed = x.clone()
        half = changed.narrow(axis, ITEM[axis - 1] // 2, ITEM[axis - 1] - ITEM[axis - 1] // 2)
        half.mul_(2).add_(3)
        if trial(changed, real(ITEM)) == value:
            ignored.append(name)
    cause = f"the value does not depend on a part of the {' and '.join(ignored)}: flatten the items"
    return same(", ".join(ignored) or "none ignored", "none ignored", cause)


def unchanged(trial: MetricTrial) -> Finding:
    """Check that neither the samples nor the reference is changed in place."""
    samples, expected = normal(0), real()
    trial(samples, expected)
    changed = not (torch.equal(samples, normal(0)) and torch.equal(expected, real()))
    cause = "the metric changes its inputs in place: compute a new tensor"
    return same("changed" if changed else "unchanged", "unchanged", cause)


def repeatable(trial: MetricTrial) -> Finding:
    """Check that the value depends neither on earlier calls nor on global generators, and changes none of them."""
    values, names = [], []
    for seed in (1, 2):
        with changed_globals(seed=seed) as changed:
            values.append(trial(normal(0), real()))
            trial(distorted(normal(2)), real())
        names += changed
    if names and values[0] == values[1]:
        cause = f"the metric changes {' and '.join(names[:2])}: use a generator of its own"
        return Finding(False, "changed", "unchanged", cause)
    cause = "the metric draws from the global generator or keeps a state: draw from a generator with a fixed seed"
    return at_most(abs(values[0] - values[1]), 1e-12 * (1 + abs(values[0])), cause, "difference ")
