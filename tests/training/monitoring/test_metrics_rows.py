"""When rows of metrics are written, and which rows an uninterrupted run has written."""

from __future__ import annotations

import pytest

from sdekit.runs import TrainOptions
from sdekit.training.monitoring.metrics_rows import (
    is_evaluation_due,
    is_metric_due,
    kind_of,
    missing_kinds,
    undisturbed,
)

OPTIONS = TrainOptions(steps=100, log_every=5, checkpoint_every=20, evaluate_every=8, metric="energy:x=1")
LOSS = {"seconds": 1.0, "loss": 0.5, "learning_rate": 0.1}
EVALUATION = {"seconds": 1.0, "held_out_loss": 0.5}
METRIC = {"seconds": 1.0, "energy": 0.1}


def test_evaluations_of_short_runs() -> None:
    """Two for each doubling of the steps from 64 to the first checkpoint, and one wherever weights are kept."""
    options = TrainOptions(steps=1, checkpoint_every=1000, keep_every=300)
    due = [step for step in range(1, 2001) if is_evaluation_due(options, step)]
    assert due == [64, 96, 128, 192, 256, 300, 384, 512, 600, 768, 900, 1000, 1200, 1500, 1800, 2000]
    assert not any(is_metric_due(options, step) for step in range(1, 50))


@pytest.mark.parametrize(
    ("row", "kind"), [(LOSS, "loss"), (EVALUATION, "evaluation"), (METRIC, "metric"), (LOSS | EVALUATION, "evaluation")]
)
def test_kinds(row: dict[str, float], kind: str) -> None:
    """The names of a row decide its kind."""
    assert kind_of({"step": 5, "skipped": 1, **row}, OPTIONS) == kind


def test_undisturbed_rows() -> None:
    """Rows after the checkpoint and rows that a stop has caused are left out, unless the run ends there."""
    stop = {"step": 23, **LOSS, **EVALUATION}
    regular = [{"step": 20, **LOSS}, {"step": 20, **EVALUATION}, {"step": 16, **METRIC}]
    rows = [*regular, stop, {"step": 25, **LOSS}]
    assert undisturbed(rows, OPTIONS, 23, finished=False) == regular
    assert undisturbed(rows, OPTIONS, 23, finished=True) == [*regular, stop]
    assert undisturbed([{"step": 20, **LOSS, **EVALUATION}], OPTIONS, 30, finished=False) == [
        {"step": 20, **EVALUATION}
    ]


def test_missing_rows() -> None:
    """A session that was killed after its checkpoint has not written the rows of this step."""
    assert missing_kinds([], OPTIONS, 0, finished=False) == []
    assert missing_kinds([{"step": 40, **LOSS}], OPTIONS, 40, finished=False) == ["evaluation", "metric"]
    assert missing_kinds([{"step": 40, **EVALUATION}], OPTIONS, 40, finished=False) == ["metric"]
    assert missing_kinds([], OPTIONS, 23, finished=False) == []
    assert missing_kinds([{"step": 23, **EVALUATION}], OPTIONS, 23, finished=True) == ["metric"]
