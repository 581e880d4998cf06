"""What the held-out losses of a run say about it, and what to do about it, for `train` and `sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sdekit_cli.terminal.console import quoted

if TYPE_CHECKING:
    from sdekit.models import OpenedModel
    from sdekit.runs import Recipe
    from sdekit.training import Diagnosis

USUAL_STEPS = 5000
"""Number of steps that is suggested for a run that is not trained, if it is not longer already."""


def diagnose_opened(opened: OpenedModel) -> tuple[Diagnosis, str] | None:
    """Diagnose the run that a model was opened from.

    Arguments:
        opened: The model.
    Returns:
        The diagnosis at the step of the weights, and the remedy; None if the model is not that of a run folder.
    """
    from sdekit.errors import InputError
    from sdekit.runs import Run, is_run, read_metrics
    from sdekit.training import diagnose

    if not isinstance(opened, Run) or not is_run(opened.path):
        return None
    try:
        diagnosis = diagnose(read_metrics(opened.path), opened.step)
    except InputError:  # metrics.jsonl cannot be read
        return None
    return diagnosis, remedy(diagnosis, opened.recipe, opened.path, opened.step)


def remedy(diagnosis: Diagnosis, recipe: Recipe, run: Path, step: int) -> str:
    """Return what to do about a verdict, as text that continues a sentence; empty for a trained run.

    Arguments:
        diagnosis: Diagnosis of the run.
        recipe: Recipe of the run.
        run: Run folder.
        step: Step of the weights in the run folder.
    """
    if diagnosis.verdict in ("untrained", "improving"):
        train, last = recipe.train, diagnosis.step or 0
        if train.steps is None:
            longer = f"--time-limit {2 * (train.time_limit or 60):g}"
        else:
            steps = max(2 * last, USUAL_STEPS if diagnosis.verdict == "untrained" else 0)
            longer = f"--steps {steps}" if last >= train.steps else ""
        return f"train longer, by  sdekit train --out {quoted(run)} --resume {longer}".rstrip()
    if diagnosis.verdict != "overfitting":
        return ""
    options = ["more data"]
    if recipe.kind == "image":
        options.append("--option train.augment=0.12")
    if "dropout" in recipe.network.options:
        options.append(f"--network {recipe.network.name} --option network.dropout=0.1")
    if step < (diagnosis.step or 0):
        return (
            f"the weights of step {step} are used (--option train.weights=last uses the last ones). To improve them, "
            f"train with {' or '.join(options)}; about {step} steps are enough (--steps {step})"
        )
    return f"train with {', '.join(options)}, or fewer steps (--steps {diagnosis.best_step}){_kept(diagnosis, run)}"


def _kept(diagnosis: Diagnosis, run: Path) -> str:
    """Return the command that samples the kept weights with the smallest held-out loss, or how to keep weights."""
    from sdekit.runs import RunFolder, read_metrics

    losses = {row["step"]: row["held_out_loss"] for row in read_metrics(run) if row.get("held_out_loss") is not None}
    steps = [step for step in RunFolder(run).snapshot_steps() if step in losses]
    best = min(steps, key=losses.__getitem__, default=None)
    if best is None or losses[best] >= (diagnosis.held_out_loss or 0):
        return ". --option train.keep_every=N keeps the weights of earlier steps"
    sample = f"sdekit sample {quoted(f'run:{run},step={best}')} --out samples"
    return f". The weights of step {best} are kept, with a held-out loss of {losses[best]:.3g}:  {sample}"
