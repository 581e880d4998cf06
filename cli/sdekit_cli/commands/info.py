"""`sdekit info`."""

from __future__ import annotations

import dataclasses
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit_cli.options.shared_options import PluginFiles, Trust, load_plugin_files
from sdekit_cli.terminal.console import print_json, show_table

if TYPE_CHECKING:
    from sdekit.models import OpenedModel
    from sdekit.runs import Run

MOST_NAMES = 20
"""Largest number of names in one cell of the table."""

FIRST = (
    *("run", "model", "classifier", "data", "items", "kind", "shape", "classes", "class_names", "untrained_classes"),
    *("columns", "channel_names", "sample_rate", "condition", "condition_names", "network", "parameters", "process"),
    *("prediction", "steps", "of", "seconds", "loss", "held_out_loss", "verdict", "accuracy", "files"),
)
"""Fields that the table shows first, in this order."""


def info(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Run folder, export, LOADER:PATH, or folder of `sdekit train-classifier`."),
    ],
    trust: Trust = False,
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Describe a saved model, and check that its files are complete and unaltered.

    Examples:

      sdekit info run

      sdekit info acme-matrix:weights.npz --plugin acme_loader.py
    """
    from rich.markup import escape
    from rich.table import Table

    load_plugin_files(plugin, quiet=json)
    from sdekit.training import is_classifier

    fields = _classifier_fields(Path(run)) if is_classifier(Path(run)) else _model_fields(run, trust, quiet=json)
    if json:
        print_json(fields)
        return
    table = Table(show_header=False, box=None)
    ordered = [*(name for name in FIRST if name in fields), *(name for name in fields if name not in FIRST)]
    for name in ordered:
        value = fields[name]
        if value in (None, [], "") or value == {} or (name == "classes" and value == 0):
            continue
        table.add_row(f"[bold]{name.replace('_', ' ')}[/]", escape(_as_text(value)))
    show_table(table)


def _as_text(value: Any) -> str:
    """Format a component as its name and options, a table as its entries, and a float with five digits.

    A list of names is cut after 20 names.
    """
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return "\n".join(_column_text(entry) for entry in value)
    if isinstance(value, list) and value and all(isinstance(entry, str) for entry in value):
        rest = f", ... ({len(value)} in total)" if len(value) > MOST_NAMES else ""
        return ", ".join(value[:MOST_NAMES]) + rest
    if not isinstance(value, dict):
        return f"{value:.5g}" if isinstance(value, float) else str(value)
    options = value.get("options", value)
    names = [str(v) for k, v in value.items() if k in ("name", "spec")]
    return "  ".join([*names, " ".join(f"{k}={v}" for k, v in options.items())])


def _column_text(column: dict[str, Any]) -> str:
    """Format a column of a table: its name, unit (if not part of the name) and type, and the values of a category."""
    from sdekit.data import unit_in_name

    unit = column.get("unit")
    unit = f" [{unit}]" if unit and unit != unit_in_name(column["name"]) else ""
    values = f": {_as_text(list(column['values']))}" if column.get("values") else ""
    return f"{column['name']}{unit} ({column['type']}){values}"


def _data_fields(opened: OpenedModel) -> dict[str, Any]:
    """Return the kind of the data, the columns of a table, and the channels of sequences."""
    return {
        "kind": opened.kind,
        "columns": [column.as_dict() for column in opened.columns],
        "channel_names": list(opened.channel_names),
        "sample_rate": opened.sample_rate,
    }


def _model_fields(spec: str, trust: bool, *, quiet: bool) -> dict[str, Any]:
    """Return the fields of a run, an export, or a model in another format."""
    from sdekit.runs import Run
    from sdekit_cli.options.model_option import open_run

    opened = open_run(spec, trust=trust, quiet=quiet)
    return _run_fields(opened) if isinstance(opened, Run) else _other_fields(spec, opened)


def _run_fields(run: Run) -> dict[str, Any]:
    recipe = run.recipe
    resumable, last = _progress(run.path)
    return {
        "run": str(run.path),
        "format": run.facts["format"],
        **({"checksums": run.facts["checksums"]} if "checksums" in run.facts else {}),
        "data": {"spec": recipe.data.name, "options": recipe.data.options},
        "items": recipe.items,
        "shape": list(run.shape),
        **_data_fields(run),
        "classes": run.classes,
        "class_names": list(run.class_names),
        "untrained_classes": [run.class_names[u] if run.class_names else u for u in recipe.untrained],
        "process": {"name": recipe.sde.name, "options": recipe.sde.options},
        "network": {"name": recipe.network.name, "options": recipe.network.options},
        "parameters": _parameters(run),
        "prediction": recipe.prediction,
        "condition": run.condition,
        "condition_names": list(run.condition_names),
        "drop": recipe.train.drop,
        "data_std": run.data_std,
        "steps": run.step,
        "of": recipe.train.steps,
        "seconds": last.get("seconds"),
        "loss": last.get("loss"),
        "held_out_loss": last.get("held_out_loss"),
        "verdict": _verdict(run),
        "resumable": resumable,
        "files": sorted(path.name for path in run.path.iterdir() if not path.name.startswith(".")),
    }


def _verdict(run: Run) -> str | None:
    """Return the verdict of the held-out losses, see `sdekit.training.diagnose`; None for an export."""
    from sdekit_cli.options.run_diagnosis import diagnose_opened

    diagnosed = diagnose_opened(run)
    return None if diagnosed is None else diagnosed[0].verdict


def _other_fields(spec: str, opened: OpenedModel) -> dict[str, Any]:
    sde: Any = opened.model.sde
    fields = {field.name: getattr(sde, field.name) for field in (dataclasses.fields(sde) if is_dataclass(sde) else ())}
    options = {name: value for name, value in fields.items() if isinstance(value, (int, float, str))}
    return {
        "model": spec,
        "shape": list(opened.shape),
        **_data_fields(opened),
        "classes": opened.classes,
        "class_names": list(opened.class_names),
        "process": {"name": type(sde).__name__, "options": options},
        "network": {"name": type(opened.model.network).__name__, "options": {}},
        "parameters": _parameters(opened),
        "prediction": opened.model.prediction,
        "condition": opened.condition,
        "condition_names": list(opened.condition_names),
        "data_std": opened.data_std,
        "grid": opened.grid,
        **({} if opened.codec is None else {"data_shape": list(opened.data_shape)}),
        "data_range": None if opened.units.low is None else [opened.units.low, opened.units.high],
        "network_input": str(opened.model.inputs),
        **opened.facts,
        "guessed": dict(opened.guesses),
    }


def _parameters(opened: OpenedModel) -> int:
    return sum(p.numel() for p in opened.model.parameters())


def _progress(run: Path) -> tuple[bool, dict[str, Any]]:
    """Return whether a folder has a checkpoint, which is checked, and the last value of each of its metrics."""
    from sdekit.runs import RunFolder, load_checkpoint, read_metrics

    resumable = RunFolder(run).checkpoint.exists()
    if resumable:
        load_checkpoint(run)
    return resumable, {name: value for row in read_metrics(run) for name, value in row.items()}


def _classifier_fields(run: Path) -> dict[str, Any]:
    from sdekit.runs import model_step
    from sdekit.training import load_classifier, read_classifier

    recipe, model, step = read_classifier(run), load_classifier(run), model_step(run)
    has_checkpoint, last = _progress(run)
    return {
        "classifier": str(run),
        "data": {"spec": recipe.data.name, "options": recipe.data.options},
        "shape": list(recipe.shape),
        "classes": recipe.classes,
        "class_names": list(recipe.class_names),
        "untrained_classes": [recipe.class_names[u] if recipe.class_names else u for u in recipe.untrained],
        "process": {"name": recipe.sde.name, "options": recipe.sde.options},
        "network": {"name": "encoder", "options": recipe.network.options},
        "parameters": sum(p.numel() for p in model.parameters()),
        "data_std": recipe.data_std,
        "steps": step,
        "of": recipe.train.steps,
        "loss": last.get("loss"),
        "accuracy": last.get("accuracy", {}),
        "resumable": has_checkpoint and step != recipe.train.steps,
    }
