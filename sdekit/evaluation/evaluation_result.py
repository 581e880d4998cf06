"""Result of an evaluation: one row for each metric, the check for memorization, comparisons, and the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .traits import Better

EVALUATION_FORMAT = 1
"""Version of the format of evaluation.json."""


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """Value of one metric, with its interval and its floor.

    The floor is the value of real items against other real items, which a perfect model would reach.

    Arguments:
        metric: Registered name.
        title: Name in tables, with the extractor of its features if it has one.
        value: Value of the samples against the reference.
        low: Lower end of the 95% interval of the value.
        high: Upper end of the 95% interval.
        floor: Mean value of real items against other real items, or None if there are too few real items.
        floor_low: Lower end of the range that contains the value of 95% of perfect models, or None.
        floor_high: Upper end of this range, or None.
        n: Number of samples.
        reference_n: Number of reference items.
        floor_n: Number of real items in the place of the samples; smaller than n if there are too few real items.
        unit: Unit or scale of the value; empty for none.
        better: "lower", "higher", or the value of a perfect model.
        extractor: Title of the extractor whose features were compared, or None for the items themselves.
        options: Options of the metric.
    """

    metric: str
    title: str
    value: float
    low: float
    high: float
    floor: float | None
    floor_low: float | None
    floor_high: float | None
    n: int
    reference_n: int
    floor_n: int
    unit: str = ""
    better: Better = "lower"
    extractor: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def at_floor(self) -> bool | None:
        """Whether the value is not worse than the values of perfect models; None without a floor."""
        if self.floor_low is None or self.floor_high is None:
            return None
        if self.better == "lower":
            return self.value <= self.floor_high
        if self.better == "higher":
            return self.value >= self.floor_low
        return self.floor_low <= self.value <= self.floor_high


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Paired difference of one metric between two models that were sampled with the same seeds.

    Arguments:
        metric: Registered name.
        title: Name in tables.
        value: Value of the first model.
        other: Value of the second model.
        difference: First minus second.
        low: Lower end of the 95% interval of the difference.
        high: Upper end of this interval.
        better: "first" or "second" if the interval excludes 0, else None.
    """

    metric: str
    title: str
    value: float
    other: float
    difference: float
    low: float
    high: float
    better: str | None


@dataclass(frozen=True, kw_only=True)
class NearPair:
    """A sample and the training item that is nearest to it.

    Arguments:
        sample: Position of the sample.
        item: Index of the training item in its data set.
        distance: Euclidean distance in the model's units.
        ratio: This distance divided by the distance to the second-nearest different training item.
    """

    sample: int
    item: int
    distance: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Memorization:
    """Check whether samples copy training items, see `check_memorization`.

    Arguments:
        flagged: Whether the samples are copies of training items significantly more often than real items are.
        copies: Share of the samples that are copies: the nearest training item is at less than 1/3 of the distance of
            the second-nearest one.
        copies_low: Lower end of the 95% interval of this share.
        copies_high: Upper end of this interval.
        real_copies: The same share among unseen real items.
        nearer: Probability that a sample is nearer to the training items, relative to the second-nearest one, than an
            unseen real item is; 0.5 without memorization, 1 if all samples are copies.
        nearer_low: Lower end of the 95% interval of this probability.
        nearer_high: Upper end of this interval.
        z: Mann-Whitney z-score of the plain distances of samples and of unseen real items to the training items;
            negative if the samples are nearer (Meehan et al. 2020).
        median_distance: Median distance of a sample to the nearest training item.
        real_median_distance: The same for unseen real items.
        n: Number of samples.
        real_n: Number of unseen real items.
        training_n: Number of training items.
        compared_with: "held-out items", or "other training items" if too few items are held out.
        pairs: The samples with the smallest ratios and their training items, most similar first.
    """

    flagged: bool
    copies: float
    copies_low: float
    copies_high: float
    real_copies: float
    nearer: float
    nearer_low: float
    nearer_high: float
    z: float
    median_distance: float
    real_median_distance: float
    n: int
    real_n: int
    training_n: int
    compared_with: str
    pairs: tuple[NearPair, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Result of `evaluate`.

    Arguments:
        rows: One row for each metric.
        memorization: Check for copies of training items, or None without training items.
        columns: Values for each column of a table, by name: "ks" and its floor.
        differences: Paired comparison with another model, one for each metric; empty without one.
        warnings: Sentences about the limits of the evaluation, such as too few samples.
        protocol: How the numbers were computed: numbers of items, seeds, solver, network evaluations, grid, guidance,
            extractor, resize, data, versions.
    """

    rows: tuple[MetricRow, ...]
    memorization: Memorization | None = None
    columns: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)

    def row(self, metric: str) -> MetricRow | None:
        """Return the row of a metric by its registered name, or None."""
        return next((row for row in self.rows if row.metric == metric), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of evaluation.json."""
        return {
            "format": EVALUATION_FORMAT,
            "run": self.protocol.get("run"),
            "seeds": self.protocol.get("seeds"),
            "metrics": [asdict(row) | {"at_floor": row.at_floor} for row in self.rows],
            "memorization": None if self.memorization is None else asdict(self.memorization),
            "columns": {name: dict(values) for name, values in self.columns.items()},
            "differences": [asdict(difference) for difference in self.differences],
            "warnings": list(self.warnings),
            "protocol": {name: value for name, value in self.protocol.items() if name not in ("run", "seeds")},
        }
