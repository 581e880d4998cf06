"""Facts about a metric that its evaluation needs: the data it fits, the direction of better values, its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

M = TypeVar("M", bound=Callable[..., float])
Better = Literal["lower", "higher"] | float


@dataclass(frozen=True, kw_only=True)
class MetricTraits:
    """Facts about a metric, which `@metric_traits` adds to it as the attribute `traits`.

    A metric without this attribute has the defaults.

    Arguments:
        title: Name of the metric in tables; empty for its registered name.
        unit: Unit or scale of the value, such as "share".
        better: "lower", "higher", or the value of a perfect model, such as 0.5.
        kinds: Kinds of data that the metric fits, such as "vector" and "sequence"; empty for all.
        least: Smallest number of samples, and of reference items.
        least_columns: Smallest number of values of one item.
        space: "data" for the items themselves, or "features" for the features of an extractor.
        low: Smallest possible value, or None.
        high: Largest possible value, or None. A metric from 0 to 1 is a share, and its interval is that of a share.
        squared: Whether the value is a squared distance, such as an MMD or an energy distance, whose interval is longer
            upwards.
        splits: Number of random splits into halves from which the interval is estimated, at least 2.
        repeats: Number of real subsets from which the floor is estimated, at least 2.
        standard_error: Function `(value, n, m) -> float` that replaces the estimate from random halves, for metrics
            that are too slow for it.
    """

    title: str = ""
    unit: str = ""
    better: Better = "lower"
    kinds: tuple[str, ...] = ()
    least: int = 4
    least_columns: int = 1
    space: Literal["data", "features"] = "data"
    low: float | None = None
    high: float | None = None
    squared: bool = False
    splits: int = 50
    repeats: int = 20
    standard_error: Callable[[float, int, int], float] | None = None


def metric_traits(**traits: Any) -> Callable[[M], M]:
    """Decorator that adds `MetricTraits` to a metric.

    Arguments:
        traits: Fields of `MetricTraits`.
    Returns:
        A decorator, which returns the metric itself.
    """

    def add(metric: M) -> M:
        metric.traits = MetricTraits(**traits)  # type: ignore[attr-defined]
        return metric

    return add


def traits_of(metric: Callable[..., float]) -> MetricTraits:
    """Return the traits of a metric.

    Arguments:
        metric: Metric, or a `functools.partial` of one.
    Returns:
        Its traits; the defaults if it has none.
    """
    traits = getattr(getattr(metric, "func", metric), "traits", None)
    return traits if isinstance(traits, MetricTraits) else MetricTraits()
