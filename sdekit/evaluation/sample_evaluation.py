"""Evaluation of samples: every metric with its interval and its floor, and paired comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdekit.arguments import check_tensor
from sdekit.data import Units, kind_of
from sdekit.errors import InputError
from sdekit.registry import build

from .evaluation_result import Evaluation, Memorization, MetricRow
from .feature_extraction import Extractor, as_extractor, extract_features
from .memorization import check_memorization
from .metric_measurement import ItemSets, measure, measure_difference, misfit, resolve_metric

SHARES = ("precision", "recall", "density", "coverage")
DEFAULT_METRICS: Mapping[str, tuple[str, ...]] = {
    "image": ("energy", "sliced-w2", "classifier-test", "frechet", "kernel", *SHARES),
    "volume": ("energy", "sliced-w2", "classifier-test", *SHARES),
    "sequence": ("energy", "sliced-w2", "mmd", "classifier-test", "power-spectrum", *SHARES),
    "vector": ("energy", "sliced-w2", "mmd", "classifier-test", "ks", "correlations", *SHARES),
}
"""Metrics that are computed by default, by the kind of the data."""
FEW = 100
"""Number of items below which a warning says that the intervals are wide."""


def evaluate(
    samples: Tensor,
    reference: Tensor,
    *,
    metrics: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    real: Tensor | None = None,
    training: Tensor | Iterable[Tensor] | None = None,
    training_indices: Sequence[int] | np.ndarray | None = None,
    held_out: bool = True,
    features: Extractor | str = "raw",
    kind: str | None = None,
    columns: Sequence[str] = (),
    units: Units | None = None,
    against: Tensor | None = None,
    seed: int = 0,
    protocol: Mapping[str, Any] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Compare samples with real items by metrics, each with an interval and with its floor.

    The interval contains the expected value of the metric, for these numbers of items, with a probability of 95%. The
    floor is the value of real items against other real items.

    Arguments:
        samples: Samples (n, *shape) in the model's units.
        reference: Real items (m, *shape) in the model's units, which the model was not trained on.
        metrics: Registered names, or a map from names to options; None for the default of the kind of data.
        real: Further real items (k, *shape), disjoint from the reference, for the floor. Without them, or with fewer
            than n, the floor is that of smaller numbers of items.
        training: Training items, or batches of them, for the check for memorization; None for no check.
        training_indices: Indices of the training items in their data set, for the pairs of the check.
        held_out: Whether the reference items are not training items, so that the check can compare with them.
        features: Extractor for metrics of features, or its registered name.
        kind: "vector", "sequence", "image" or "volume"; None to infer it from the shape.
        columns: Names of the columns of a table.
        units: Units of the items, for extractors that expect other units.
        against: Samples (n, *shape) of another model with the same seeds, for a paired comparison.
        seed: Seed of the random subsets.
        protocol: Facts for `Evaluation.protocol`.
        on_progress: Function that is called with the title of each metric before it is computed.
    Returns:
        The evaluation.
    Raises:
        InputError: If the samples or the reference contain NaN, have different shapes, or are too few for a metric, or
            if a metric does not fit the kind of data.
    """
    for name, x in (("samples", samples), ("reference", reference), ("real", real), ("against", against)):
        if x is not None:
            _check_items(name, x, reference)
    if against is not None and len(against) != len(samples):
        raise InputError(f"evaluate: {len(samples)} samples against {len(against)}: draw both with the same seeds")
    kind = kind or kind_of(tuple(samples.shape[1:]))
    extractor = as_extractor(build("features", features) if isinstance(features, str) else features, str(features))
    given = _options_by_name(metrics, kind)
    chosen = [resolve_metric(name, options, extractor) for name, options in given.items()]
    misfits = [reason for metric in chosen if (reason := misfit(metric, kind, samples, reference))]
    if misfits and metrics is not None:
        raise InputError(misfits[0])
    chosen = [metric for metric in chosen if not misfit(metric, kind, samples, reference)]
    if not chosen:
        raise InputError(misfits[0] if misfits else "evaluate: no metric was chosen")
    pool = reference if real is None or not len(real) else torch.cat([reference, real])
    sets = {"data": ItemSets(samples, reference, pool, against)}
    if any(metric.traits.space == "features" for metric in chosen):
        if on_progress is not None:
            on_progress(f"features ({extractor.name})")
        of = partial(extract_features, extractor, units=units)
        sets["features"] = ItemSets(of(samples), of(reference), of(pool), None if against is None else of(against))
    rows, differences = [], []
    for metric in chosen:
        if on_progress is not None:
            on_progress(metric.title)
        rows.append(measure(metric, sets[metric.traits.space], seed))
        if against is not None:
            differences.append(measure_difference(metric, sets[metric.traits.space], seed))
    found = None
    if training is not None:
        if on_progress is not None:
            on_progress("memorization")
        batches = training.split(1024) if isinstance(training, Tensor) else training
        found = check_memorization(samples, batches, reference if held_out else None, indices=training_indices)
    facts = {
        "n": len(samples),
        "reference_n": len(reference),
        "evaluation_seed": seed,
        "extractor": extractor.as_record(),
        "interval": "95%, from random halves of samples and reference",
    }
    return Evaluation(
        rows=tuple(rows),
        memorization=found,
        columns=_columns(samples, reference, columns) if "ks" in given else {},
        differences=tuple(differences),
        warnings=(*misfits, *_warnings(rows, found)),
        protocol={**facts, **(protocol or {})},
    )


def _check_items(name: str, x: Tensor, reference: Tensor) -> None:
    """Raise InputError unless items are finite numbers of the shape of the reference."""
    check_tensor(f"evaluate: {name}", x, finite=False)
    if tuple(x.shape[1:]) != tuple(reference.shape[1:]):
        raise InputError(
            f"evaluate: {name} have the shape {tuple(x.shape[1:])}, and the reference {tuple(reference.shape[1:])}"
        )
    bad = (~x.flatten(1).isfinite().all(1)).nonzero()
    if len(bad):
        raise InputError(
            f"evaluate: {name} number {int(bad[0])} contains a number that is not finite (NaN or infinity)"
        )


def _options_by_name(
    metrics: Sequence[str] | Mapping[str, Mapping[str, Any]] | None, kind: str
) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of the chosen metrics by their names."""
    if isinstance(metrics, Mapping):
        return metrics
    names = DEFAULT_METRICS.get(kind, DEFAULT_METRICS["vector"]) if metrics is None else metrics
    return {name: {} for name in names}


def _columns(samples: Tensor, reference: Tensor, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the Kolmogorov-Smirnov statistic, and mean and standard deviation, of each column."""
    ks, (x, y) = build("metric", "ks"), (samples.flatten(1), reference.flatten(1))
    names = names or [str(i) for i in range(x.shape[1])]
    return {
        name: {
            "ks": float(ks(x[:, i : i + 1], y[:, i : i + 1])),
            "mean": float(x[:, i].double().mean()),
            "reference_mean": float(y[:, i].double().mean()),
            "std": float(x[:, i].double().std()),
            "reference_std": float(y[:, i].double().std()),
        }
        for i, name in enumerate(names)
    }


def _warnings(rows: Sequence[MetricRow], found: Memorization | None) -> Iterable[str]:
    """Yield sentences about the limits of the evaluation."""
    if not rows:
        return
    n, m, floor_n = rows[0].n, rows[0].reference_n, max(row.floor_n for row in rows)
    if n < FEW:
        yield f"{n} samples are few, so the intervals are wide: draw more with -n"
    if m < FEW:
        yield f"{m} reference items are few, so the intervals are wide: name more data with --data"
    if not floor_n:
        yield "there are too few real items for a floor: name more data with --data"
    elif floor_n < n:
        yield (
            f"the floor is that of {floor_n} real items, because there are too few for {n}: metrics that depend on the "
            "number of items have a lower floor for more items"
        )
    if found is not None and found.flagged:
        yield (
            "the samples resemble single training items more than unseen real items do "
            f"({found.copies:.0%} are copies, of real items {found.real_copies:.0%}): train with more data, for fewer "
            "steps, or with dropout"
        )
