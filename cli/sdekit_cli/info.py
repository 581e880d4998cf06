"""`sdekit info`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .console import print_json, shown


def info(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a run folder holds, and check that its files are whole.

    Example:

      sdekit info run
    """
    from sdekit.training.run import CHECKPOINT, load_checkpoint, load_run, read_metrics

    loaded = load_run(run)
    recipe = loaded.recipe
    resumable = (run / CHECKPOINT).exists()
    if resumable:
        load_checkpoint(run)
    last = {name: value for row in read_metrics(run) for name, value in row.items()}
    fields: dict[str, Any] = {
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
    if json:
        print_json(fields)
        return
    table = Table(show_header=False, box=None)
    for name, value in fields.items():
        if isinstance(value, dict):
            head, options = list(value.values())
            value = f"{head}  " + " ".join(f"{k}={v}" for k, v in options.items())
        table.add_row(f"[bold]{name.replace('_', ' ')}[/]", f"{value:.5g}" if isinstance(value, float) else str(value))
    shown.print(table)
