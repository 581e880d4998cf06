"""`sdekit train-classifier`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit.errors import InputError
from sdekit_cli.options.assignments import (
    component_options,
    convert_options,
    group_options,
    merge_flags,
    parse_assignments,
)
from sdekit_cli.options.shared_options import PluginFiles, load_plugin_files, pick_device
from sdekit_cli.terminal.console import console, note, print_json, progress_bar, quoted
from sdekit_cli.terminal.signals import stopping

if TYPE_CHECKING:
    from sdekit.runs import Recipe
    from sdekit.training import ClassifierOptions, ClassifierTrainer

GROUPS = ("data", "network", "train")


def train_classifier(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train` that it is to guide.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    data: Annotated[str | None, typer.Option(metavar="SPEC", help="Labelled data; the run's own unless said.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps (1000).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Items a step (64).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP.NAME=VALUE", help="Any option of data, network or train; repeat it."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    plugin: PluginFiles = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a classifier of noisy data, for guidance of a run that was trained without labels.

    Process, data and units are the run's. Ctrl-C saves; --resume goes on as if nothing had happened. Use it with:
    sdekit sample RUN --label 3 --guidance classifier:run=FOLDER

    Examples:

      sdekit train-classifier run --out judge

      sdekit train-classifier run --out judge --resume
    """
    load_plugin_files(plugin, quiet=json)
    flags = {"train.steps": steps, "train.batch_size": batch_size, "train.seed": seed}
    given = merge_flags(
        parse_assignments(option or ()), {name: value for name, value in flags.items() if value is not None}
    )
    if resume and (given or data):
        raise InputError("--resume takes everything from --out: beside it only RUN and --device")
    trainer = _resumed(run, out, device) if resume else _planned(run, out, data, group_options(given, GROUPS), device)
    began = time.monotonic()
    with progress_bar("loss", quiet=json) as bar, stopping(trainer.stop):
        task = bar.add_task("training", total=trainer.options.steps, loss="")
        average = 0.0
        for count, now in enumerate(trainer.run(), 1):
            average += (now.loss - average) / min(count, 50)
            bar.update(task, completed=now.step, loss=f"step {now.step}  loss {average:.3f}")
    trainer.save(out)
    accuracy, seconds = trainer.accuracy(), time.monotonic() - began
    if json:
        print_json({"run": str(out), "steps": trainer.step, "seconds": round(seconds, 2), "accuracy": accuracy})
    if not trainer.finished:
        again = f"sdekit train-classifier {quoted(run)} --out {quoted(out)} --resume"
        note("stopped at step {} and saved: go on with  [bold]{}[/]", trainer.step, again)
        raise typer.Exit(130)
    if not json:
        told = ", ".join(f"{value:.0%} at {rho}" for rho, value in accuracy.items()) or "nothing was held out"
        guide = f"sdekit sample {quoted(run)} --label 0 --guidance {quoted(f'classifier:run={out}')} --out samples"
        note(
            "trained {} steps in {:.0f} s; held-out accuracy by noise level: {}. Guide with  [bold]{}[/]",
            *(trainer.step, seconds, told, guide),
        )


def _planned(run: Path, out: Path, data: str | None, groups: dict[str, Any], device: str) -> "ClassifierTrainer":
    from sdekit.data import parse_spec
    from sdekit.networks import Encoder
    from sdekit.registry import component_names
    from sdekit.runs import read_recipe
    from sdekit.training import ClassifierOptions

    recipe = read_recipe(run, with_data=data is None)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} already holds something: choose another --out, or go on with --resume")
    spec = recipe.data.name if data is None else data
    of_data = component_options("dataset", parse_spec(spec, component_names("dataset"))[0], groups["data"])
    of_data = recipe.data.options | of_data if data is None else of_data
    options = ClassifierOptions(**convert_options("train", ClassifierOptions, groups["train"]))
    return _trainer(recipe, spec, of_data, options, convert_options("network", Encoder, groups["network"]), device)


def _resumed(run: Path, out: Path, device: str) -> "ClassifierTrainer":
    from sdekit.runs import Component, read_recipe
    from sdekit.training import ClassifierOptions, read_classifier

    found, recipe = read_classifier(out), read_recipe(run)
    data, options = Component.from_dict(found["data"]), ClassifierOptions(**found["train"])
    if Component.from_dict(found["sde"]) != recipe.sde or tuple(found["shape"]) != recipe.shape:
        raise InputError(f"{out} was trained for another run than {run}: its process or shape is another")
    trainer = _trainer(recipe, data.name, data.options, options, found["network"], device)
    trainer.resume(out)
    return trainer


def _trainer(
    recipe: "Recipe", spec: str, of_data: dict[str, Any], options: "ClassifierOptions", network: dict[str, Any],
    device: str,
) -> "ClassifierTrainer":  # fmt: skip
    from sdekit.training import ClassifierTrainer, load_data

    with console.status("reading the data ..."):
        data, source = load_data(spec, **of_data)
    return ClassifierTrainer(recipe, data, options, source=source, network=network, device=pick_device(device))
