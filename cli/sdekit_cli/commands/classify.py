"""`sdekit classify`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import sdekit
from sdekit.errors import InputError
from sdekit_cli.likelihood.class_prior import FORM, class_prior
from sdekit_cli.likelihood.evaluation_options import DataOptions, Overwrite
from sdekit_cli.options.option_classes import with_options
from sdekit_cli.options.shared_options import (
    AsJson,
    DeviceName,
    ModelArgument,
    PluginFiles,
    Trust,
    load_plugin_files,
    pick_device,
)
from sdekit_cli.terminal.console import json_values, note, print_json, show_table, shown

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.models import OpenedModel
    from sdekit_cli.likelihood.class_results import ClassResults

FILES = ("classify.csv", "classify.json", "confusion.png")


@with_options(changes={"every": {"annotation": Annotated[bool, typer.Option("--all", help="Classify all items.")]}})
def classify(
    *,
    run: ModelArgument,
    out: Annotated[Path, typer.Option(help="Folder to write: classify.csv, classify.json, confusion.png.")],
    data: DataOptions,
    method: Annotated[str, typer.Option(help="bound (variational, fast) or nll (exact).")] = "bound",
    prior: Annotated[str, typer.Option(help=f"Prior of the classes: {FORM}.")] = "uniform",
    temperature: Annotated[
        str | None,
        typer.Option(help="fit, or a number, of the likelihoods (default: fitted if the data have labels, else 1)."),
    ] = None,
    rounds: Annotated[int, typer.Option(help="bound: most rounds of 7 network evaluations of each class.")] = 8,
    significance: Annotated[
        float, typer.Option(help="bound: significance at which a class is eliminated; 0 keeps all classes.")
    ] = 1e-3,
    probes: Annotated[
        int | None, typer.Option(help="nll: random probes of the trace (default: exact up to 16 numbers, else 8).")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="nll: tolerance of the solver (default: 1e-5, in float64 3e-6).")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Items, and rows of a network evaluation, at a time.")] = 64,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    device: DeviceName = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Classify data by the likelihoods of a class-conditional model (Bayes' rule).

    Prints the accuracy and its standard error if the data have labels. classify.csv has one row per item with the
    probability of every class. The probabilities are calibrated on the labels; for data without labels, pass the
    --temperature of an earlier result. A command that was interrupted continues where it stopped.

    Examples:

      sdekit classify run --all --out classes

      sdekit classify run --data images:new --temperature 0.88 --out new-classes
    """
    from sdekit_cli.likelihood.class_results import check_temperature, collect_results, row_columns
    from sdekit_cli.likelihood.data_items import with_dtype
    from sdekit_cli.likelihood.shared_batches import compute_rows

    load_plugin_files(plugin, quiet=json)
    _check_options(method, rounds, significance, probes, tolerance, batch_size)
    import torch

    from sdekit.distributed import world
    from sdekit.likelihood import FlowSolver, Hutchinson, compare_by_bound, compare_by_likelihood
    from sdekit.models import open_model

    place = pick_device(device)
    opened = with_dtype(open_model(run, device=place, trust=trust), dtype)
    names = _trained_names(opened)
    probabilities = class_prior(opened, prior, names)
    items = data.open(opened)
    labels = items.labels()
    chosen = check_temperature(temperature, labels is not None, items.spec)
    items.check(batch_size)
    classes = torch.tensor(opened.conditioning.labels)
    position = {label: row for row, label in enumerate(opened.conditioning.labels)}
    protocol = {
        "run": str(run), "run_step": opened.step, "data": items.spec, "n": len(items), "method": method,
        "rounds": rounds if method == "bound" else None, "significance": significance if method == "bound" else None,
        "probes": probes, "tolerance": tolerance, "dtype": dtype, "classes": list(names),
        "items": items.indices.tolist(),
    }  # fmt: skip
    number_type = torch.float64 if dtype == "float64" else torch.float32

    def compute(part: slice) -> Tensor:
        x = items.read(part)[0].to(place, number_type)
        seeds, sde, model = [int(i) for i in items.indices[part]], opened.model.sde, opened.model
        if method == "bound":
            result = compare_by_bound(
                sde, model, x, classes, rounds=rounds, significance=significance, data_std=opened.data_std, seeds=seeds,
                batch_size=batch_size,
            )  # fmt: skip
        else:
            trace = None if probes is None else Hutchinson(probes=probes, kind="orthogonal")
            solver = FlowSolver(tolerance=tolerance)
            result = compare_by_likelihood(
                sde, model, x, classes, trace=trace, solver=solver, seeds=seeds, batch_size=batch_size
            )
        known = [-1] * len(x) if labels is None else [position[int(label)] for label in labels[part]]
        first = torch.stack([torch.tensor(seeds), torch.tensor(known), result.evaluations], 1).double()
        return torch.cat([first, result.log_ratio, result.standard_error], 1)

    began = time.perf_counter()
    rows = compute_rows(
        compute, len(items), batch_size, out, "classify", row_columns(len(names)), protocol, overwrite=overwrite,
        quiet=json,
    )  # fmt: skip
    if rows is None:
        return
    results = collect_results(torch.tensor(rows.values(), dtype=torch.float64), names, probabilities, chosen)
    record = protocol | {"prior": dict(zip(names, probabilities.tolist(), strict=True))} | results.record()
    record |= {
        "seconds": round(time.perf_counter() - began, 3),
        "processes": world().size,
        "versions": {"sdekit": sdekit.__version__, "torch": torch.__version__},
    }
    files = {"classify.csv": results.csv()} | _picture(results)
    rows.finish(json_values(record), files)
    if json:
        shortened = {k: v for k, v in record.items() if k not in ("items", "confusion", "reliability")}
        print_json(shortened | {"file": str(out / "classify.csv")})
        return
    _report(record, results, items.part, has_temperature=temperature is not None)
    note("one row per item in [bold]{}[/]", out / "classify.csv")


def _check_options(
    method: str, rounds: int, significance: float, probes: int | None, tolerance: float | None, batch_size: int
) -> None:
    """Raise InputError if an option is out of range, or belongs to the other method."""
    if method not in ("bound", "nll"):
        raise InputError(f"--method {method}: choose bound or nll")
    if rounds < 2:
        raise InputError(f"--rounds must be at least 2, got {rounds}: the standard error is computed from them")
    if not 0 <= significance < 1:
        raise InputError(f"--significance must be at least 0 and below 1, got {significance:g}")
    if batch_size < 1:
        raise InputError(f"--batch-size must be at least 1, got {batch_size}")
    for name, value in (("--probes", probes), ("--tolerance", tolerance)):
        if value is not None and method == "bound":
            raise InputError(f"{name} {value:g} applies to --method nll")
    if probes is not None and probes < 2:
        raise InputError(f"--probes must be at least 2 for a standard error, got {probes}")


def _trained_names(opened: OpenedModel) -> tuple[str, ...]:
    """Return the names of the classes that a model was trained on. Raises InputError if they are fewer than two."""
    if opened.condition != "label":
        trained = "without a condition" if opened.condition == "none" else f"on {opened.condition} as its condition"
        raise InputError(
            f"{opened.path} was trained {trained}, and classify compares the classes of a model that was trained on "
            "labels: train with --condition label"
        )
    labels = opened.conditioning.labels
    if len(labels) < 2:
        raise InputError(f"{opened.path} was trained on {len(labels)} class: classify needs at least 2")
    names = opened.class_names
    return tuple(names[label] if names else str(label) for label in labels)


def _picture(results: ClassResults) -> dict[str, bytes]:
    """Return confusion.png, or nothing without labels."""
    if results.counts is None:
        return {}
    from sdekit.plotting import confusion_matrix

    return {"confusion.png": confusion_matrix(results.counts.numpy(), results.names)}


def _report(record: dict[str, Any], results: ClassResults, part: str, *, has_temperature: bool) -> None:
    """Print accuracy, confusion matrix, calibration and protocol."""
    show_table(results.table())
    if "accuracy" in record:
        low, high = record["accuracy_interval"]
        shown.print(
            f"[bold]{record['accuracy']:.2%} +- {record['accuracy_error']:.2%} correct[/] of {record['n']} {part} (95% "
            f"interval {low:.1%} to {high:.1%})",
            soft_wrap=True,
        )
        shown.print(
            f"calibration error {record['calibration_error']:.2%} at temperature {record['temperature']:.3g} "
            f"({record['uncalibrated']['calibration_error']:.2%} at temperature 1), log loss {record['log_loss']:.3g}",
            soft_wrap=True,
        )
    elif not has_temperature:
        note("the probabilities are not calibrated: classify labelled data, and pass its temperature as --temperature")
    how = f"bound, at most {record['rounds']} rounds" if record["method"] == "bound" else "exact likelihoods"
    shown.print(f"protocol: {how}, {record['evaluations_per_item']:.0f} network evaluations per item")
