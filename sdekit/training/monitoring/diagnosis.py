"""Diagnosis of a run from the held-out losses in its metrics.

- overfitting: the last held-out loss is more than 3% above the smallest one;
- untrained: it is above the loss of denoisers without training, `baseline_loss`, by half of the distance from there to
  `trivial_loss`, but by at least 4% and at most 10%;
- improving: twice the steps would lower it by more than 10% (25% from step 1,000, because the decay of the learning
  rate alone lowers it at the end), if it continued to fall as over the last steps;
- trained: none of these, or the weights are earlier ones of a run that overfits later, which more steps do not improve;
- unknown: there is no held-out loss.

Items, noise levels and noise of all evaluations of a run are the same, so that their losses differ by the weights only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["trained", "untrained", "improving", "overfitting", "unknown"]

RISE = 0.03  # relative increase above the smallest loss that counts as overfitting
ABOVE_BASELINE = (0.04, 0.10)  # bounds of the relative distance to the baseline of a run that is not trained
GAIN, LATE_GAIN = 0.10, 0.25  # relative decrease per doubling of the steps of a run that still improves
LATE = 1000  # first step for LATE_GAIN
LOOK_BACK = 2**0.5  # the decrease is measured from the last evaluation before 1 / LOOK_BACK of the steps


@dataclass(frozen=True)
class Diagnosis:
    """Diagnosis of a run at one step.

    Arguments:
        verdict: "trained", "untrained", "improving", "overfitting" or "unknown".
        step: Step of the last evaluation, or None.
        held_out_loss: Its held-out loss, or None.
        baseline_loss: Loss of denoisers without training on the same items and noise, or None.
        trivial_loss: Loss of the denoiser of an isotropic Gaussian on the same items and noise, or None.
        best_step: Step of the smallest held-out loss, or None.
        best_loss: The smallest held-out loss, or None.
    """

    verdict: Verdict
    step: int | None = None
    held_out_loss: float | None = None
    baseline_loss: float | None = None
    trivial_loss: float | None = None
    best_step: int | None = None
    best_loss: float | None = None

    @property
    def explanation(self) -> str:
        """The reason of the verdict, as a sentence without a full stop; empty for a trained run."""
        loss, baseline = f"{self.held_out_loss or 0:.3g}", f"{self.baseline_loss or 0:.3g}"
        if self.verdict == "overfitting":
            return (
                f"the run overfits: its held-out loss rose from {self.best_loss:.3g} at step {self.best_step} to {loss}"
            )
        if self.verdict == "untrained":
            return (
                f"the run is not trained yet: its held-out loss is {loss} after {self.step} steps, and denoisers that "
                f"need no training reach {baseline}"
            )
        if self.verdict == "improving":
            return f"the run can still improve: its held-out loss, {loss}, was still falling at step {self.step}"
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for a record."""
        return asdict(self)


def diagnose(rows: Iterable[Mapping[str, Any]], step: int | None = None) -> Diagnosis:
    """Diagnose a run.

    Arguments:
        rows: Rows of `metrics.jsonl`.
        step: Step of the weights, or None for the last step. Later rows only show whether the run overfits later.
    Returns:
        The diagnosis.
    """
    everything = [row for row in rows if isinstance(row.get("held_out_loss"), (int, float))]
    evaluations = [row for row in everything if step is None or row["step"] <= step]
    if not evaluations:
        return Diagnosis("unknown")
    last, best = evaluations[-1], min(evaluations, key=lambda row: row["held_out_loss"])
    baseline, trivial = last.get("baseline_loss"), last.get("trivial_loss")
    curve = [(row["step"], row["held_out_loss"]) for row in evaluations]
    verdict = _verdict(curve, best["held_out_loss"], baseline, trivial)
    smallest = min(row["held_out_loss"] for row in everything)
    if verdict in ("untrained", "improving") and everything[-1]["held_out_loss"] > (1 + RISE) * smallest:
        verdict = "trained"
    return Diagnosis(
        verdict, last["step"], last["held_out_loss"], baseline, trivial, best["step"], best["held_out_loss"]
    )


def _verdict(curve: Sequence[tuple[int, float]], best: float, baseline: float | None, trivial: float | None) -> Verdict:
    """Return the verdict, see the table at the top of this file."""
    last_step, loss = curve[-1]
    if loss > (1 + RISE) * best:
        return "overfitting"
    if baseline is not None:
        least, most = ABOVE_BASELINE
        half = most if trivial is None else (trivial / baseline - 1) / 2
        if not loss <= (1 + min(max(half, least), most)) * baseline:  # also for a loss that is not a number
            return "untrained"
    earlier = [(step, value) for step, value in curve if 0 < step <= last_step / LOOK_BACK]
    if earlier:
        before, value = earlier[-1]
        if (value - loss) / math.log2(last_step / before) > (GAIN if last_step < LATE else LATE_GAIN) * loss:
            return "improving"
    return "trained"
