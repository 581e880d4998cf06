"""Rows of `metrics.jsonl`: when each kind of row is written, and which rows an uninterrupted run has written.

| kind | content | steps |
|---|---|---|
| loss | mean loss of the steps since the last row, learning rate | multiples of `log_every` |
| evaluation | `Objective.evaluate` on held-out data | checkpoints, kept weights, 64, 96, 128, 192, 256, ..., the end |
| metric | distance of samples to held-out data | multiples of `evaluate_every`, the last step |

The last evaluation of a session also contains the loss of the steps since the last row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sdekit.runs import TrainOptions

LOSS_NAMES = ("loss", "learning_rate")
COMMON = {"step", "seconds", "skipped"}
"""Names in rows of every kind."""
FIRST_EARLY = 64
"""First step of the evaluations before the first checkpoint, which are two for each doubling of the steps.

A small data set is memorised early, and the weights with the smallest held-out loss are those of an evaluation.
"""

KINDS = ("loss", "evaluation", "metric")
"""Kinds of rows, in the order in which the rows of one step are written."""

Row = dict[str, Any]


def is_loss_due(options: TrainOptions, step: int) -> bool:
    """Return whether a row with the mean loss is written after a step."""
    return step % options.log_every == 0


def is_evaluation_due(options: TrainOptions, step: int) -> bool:
    """Return whether the held-out data are evaluated after a step that is not the last one."""
    early = FIRST_EARLY <= step < options.checkpoint_every and step % 2 ** (step.bit_length() - 2) == 0
    kept = options.keep_every > 0 and step % options.keep_every == 0
    return step % options.checkpoint_every == 0 or early or kept


def is_metric_due(options: TrainOptions, step: int) -> bool:
    """Return whether samples are compared with held-out data after a step that is not the last one."""
    return bool(options.evaluate_every) and step % options.evaluate_every == 0


def kind_of(row: Row, options: TrainOptions) -> str:
    """Return the kind of a row, one of `KINDS`."""
    names = row.keys() - COMMON
    if names <= set(LOSS_NAMES):
        return "loss"
    return "metric" if names == {options.metric_name} else "evaluation"


def undisturbed(rows: Iterable[Row], options: TrainOptions, step: int, *, finished: bool) -> list[Row]:
    """Return the rows that an uninterrupted run has written up to a step.

    Arguments:
        rows: Rows of `metrics.jsonl`, possibly of steps that were lost in a crash.
        options: Options of the run, which may be longer than the run that wrote the rows.
        step: Step of the checkpoint.
        finished: Whether the run ends at this step. Rows of this step are then unchanged.
    Returns:
        The rows, without those that only a stop has caused.
    """
    due = {"loss": is_loss_due, "evaluation": is_evaluation_due, "metric": is_metric_due}
    result = []
    for row in rows:
        kind = kind_of(row, options)
        if row["step"] == step and finished:
            result.append(row)
        elif row["step"] <= step and due[kind](options, row["step"]):
            result.append(row if kind == "loss" else {k: v for k, v in row.items() if k not in LOSS_NAMES})
    return result


def missing_kinds(rows: Iterable[Row], options: TrainOptions, step: int, *, finished: bool) -> list[str]:
    """Return the kinds of rows of a checkpoint's step that a killed session has not written.

    Arguments:
        rows: Rows that were written.
        options: Options of the run.
        step: Step of the checkpoint.
        finished: Whether the run ends at this step.
    Returns:
        A list of "evaluation" and "metric", in the order in which the rows are written.
    """
    written = {kind_of(row, options) for row in rows if row["step"] == step}
    due = {
        "evaluation": step > 0 and (finished or is_evaluation_due(options, step)),
        "metric": step > 0 and (is_metric_due(options, step) or (finished and bool(options.evaluate_every))),
    }
    return [kind for kind, is_due in due.items() if is_due and kind not in written]


def json_lines(rows: Iterable[Row]) -> bytes:
    """Return rows as the contents of `metrics.jsonl`."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
