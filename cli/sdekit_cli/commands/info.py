"""`sdekit info`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from sdekit_cli.options.backend_option import Trust
from sdekit_cli.terminal.console import print_json, show_table


def info(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`, or of `sdekit train-classifier`.")
    ],
    trust: Trust = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a run folder holds, and check that its files are whole.

    Example:

      sdekit info run
    """
    from sdekit.training import is_classifier

    fields = _of_classifier(run) if is_classifier(run) else _of_run(run, trust)
    if json:
        print_json(fields)
        return
    table = Table(show_header=False, box=None)
    for name, value in fields.items():
        table.add_row(f"[bold]{name.replace('_', ' ')}[/]", escape(_written(value)))
    show_table(table)


def _written(value: Any) -> str:
    """A component as its name and options, a table as its entries, a number in few digits."""
    if not isinstance(value, dict):
        return f"{value:.5g}" if isinstance(value, float) else str(value)
    options = value.get("options", value)
    named = [str(v) for k, v in value.items() if k in ("name", "spec")]
    return "  ".join([*named, " ".join(f"{k}={v}" for k, v in options.items())])


def _of_run(run: Path, trust: bool) -> dict[str, Any]:
    from sdekit.runs import CHECKPOINT, load_checkpoint, load_run, read_metrics

    loaded = load_run(run, trust=trust)
    recipe = loaded.recipe
    resumable = (run / CHECKPOINT).exists()
    if resumable:
        load_checkpoint(run)
    last = {name: value for row in read_metrics(run) for name, value in row.items()}
    return {
        "run": str(run),
        "data": {"spec": recipe.data.name, "options": recipe.data.options},
        "items": recipe.items,
        "shape": list(recipe.shape),
        "classes": recipe.classes,
        "process": {"name": recipe.sde.name, "options": recipe.sde.options},
        "network": {"name": recipe.network.name, "options": recipe.network.options},
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "prediction": recipe.prediction,
        "condition": recipe.condition,
        "condition_names": list(recipe.condition_names),
        "drop": recipe.train.drop,
        "data_std": recipe.data_std,
        "steps": loaded.step,
        "of": recipe.train.steps,
        "seconds": last.get("seconds"),
        "loss": last.get("loss"),
        "held_out_loss": last.get("held_out_loss"),
        "resumable": resumable,
    }


def _of_classifier(run: Path) -> dict[str, Any]:
    from sdekit.runs import CHECKPOINT, load_checkpoint, read_metrics
    from sdekit.training import load_classifier, read_classifier

    config, model = read_classifier(run), load_classifier(run)
    resumable = (run / CHECKPOINT).exists()
    if resumable:
        load_checkpoint(run)
    last = {name: value for row in read_metrics(run) for name, value in row.items()}
    return {
        "classifier": str(run),
        "data": {"spec": config["data"]["name"], "options": config["data"]["options"]},
        "shape": config["shape"],
        "classes": config["classes"],
        "class_names": config["class_names"],
        "process": config["sde"],
        "network": {"name": "encoder", "options": config["network"]},
        "parameters": sum(p.numel() for p in model.parameters()),
        "data_std": config["data_std"],
        "steps": last["step"],
        "of": config["train"]["steps"],
        "loss": last.get("loss"),
        "accuracy": config["accuracy"],
        "resumable": resumable,
    }
