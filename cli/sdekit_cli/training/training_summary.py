"""How a training ended: the fields of --json, and the text for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdekit_cli.terminal.console import note, quoted

if TYPE_CHECKING:
    from sdekit.training import Trainer

LOSSES = {"loss": "loss", "held_out_loss": "held-out loss", "baseline_loss": "loss of denoisers without training"}
"""Losses in the summary, and their descriptions."""


def training_summary(trainer: Trainer, out: Path, loss: float | None) -> dict[str, Any]:
    """Summarize a training.

    Arguments:
        trainer: Trainer of the run.
        out: Run folder.
        loss: Loss to use if the run is too short to have one in its metrics.
    Returns:
        The fields of --json.
    """
    from sdekit.runs import read_metrics
    from sdekit.training import diagnose

    preview = trainer.folder.preview(trainer.step)
    last = {name: value for row in read_metrics(out) for name, value in row.items()}
    held_out = last.get("held_out_loss")
    return {
        "run": str(out),
        "step": trainer.step,
        "seconds": round(trainer.seconds, 2),
        "loss": last.get("loss", loss),
        "held_out_loss": held_out if held_out is None else round(held_out, 5),
        "baseline_loss": last.get("baseline_loss"),
        "verdict": diagnose(trainer.metrics.rows).verdict,
        "weights_step": trainer.weights_step if trainer.step else None,
        "preview": str(preview) if preview.exists() else None,
        "finished": trainer.finished,
        "skipped": len(trainer.data.skipped),
        "notes": list(trainer.data.notes),
    }


def print_summary(trainer: Trainer, out: Path, summary: dict[str, Any], *, resumed: bool, before: int) -> None:
    """Print how a training ended, and the next command.

    Arguments:
        trainer: Trainer of the run.
        out: Run folder.
        summary: Fields of `training_summary`.
        resumed: Whether the training continued a run.
        before: Step at which it began.
    """
    resume = f"sdekit train --out {quoted(out)} --resume"
    step, steps = trainer.step, trainer.options.steps
    if not trainer.finished:
        reason = f"stopped at step {step}" if trainer.interrupted else f"reached --time-limit at step {step} of {steps}"
        state = (
            "saved: go on" + ("" if trainer.interrupted else " for as long") if step else "nothing was trained: start"
        )
        resume += "" if step or trainer.interrupted else " --time-limit 60"
        note("{} and {} with  [bold]{}[/]", reason, state, resume)
        return
    if resumed and step == before:
        longer = f"--steps {2 * step}" if steps else f"--time-limit {2 * (trainer.options.time_limit or 0):g}"
        note("{} was finished already, at step {}: go on with  [bold]{} {}[/]", out, step, resume, longer)
        return
    losses = [f"{text} {summary[name]:.4g}" for name, text in LOSSES.items() if summary[name] is not None]
    note("trained {} steps in {:.0f} s: {}", step, trainer.seconds, ", ".join(losses))
    from sdekit.training import diagnose
    from sdekit_cli.options.run_diagnosis import remedy

    diagnosis = diagnose(trainer.metrics.rows)
    if diagnosis.explanation:
        note("[yellow]{}:[/] {}", diagnosis.explanation, remedy(diagnosis, trainer.recipe, out, trainer.weights_step))
    elif trainer.weights_step < step:
        note("the weights of step {} are used, because the held-out loss has risen since", trainer.weights_step)
    if summary["preview"] is not None:
        note("last preview: [bold]{}[/]", summary["preview"])
    run = quoted(out)
    note("next: [bold]sdekit sample {} --out samples[/]    draw samples", run)
    note("      [bold]sdekit evaluate {}[/]    compare samples with data", run)
    note("      [bold]sdekit report {}[/]    everything about the run in one HTML file", run)
