"""`sdekit train-classifier`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit.errors import InputError
from sdekit_cli.options.shared_options import PluginFiles, load_plugin_files, pick_device
from sdekit_cli.terminal.console import note, print_json, quoted

if TYPE_CHECKING:
    from sdekit.training import Trainer

GROUPS = ("data", "network", "train")


def train_classifier(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train` that it is to guide.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    data: Annotated[str | None, typer.Option(metavar="SPEC", help="Labelled data (default: those of the run).")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps (1000).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Items in a batch (64).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers (0).")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP.NAME=VALUE", help="Any option of data, network or train; repeat it."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    plugin: PluginFiles = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the classifier in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a classifier of noisy data, for guidance of a run that was trained without labels.

    Process, data and units are those of the run. Ctrl-C saves, and --resume continues exactly. Use it with:
    sdekit sample RUN --label 3 --guidance classifier:run=FOLDER

    Examples:

      sdekit train-classifier run --out judge

      sdekit train-classifier run --out judge --resume
    """
    from sdekit.registry import parse_assignments
    from sdekit_cli.options.assignments import group_options, merge_flags
    from sdekit_cli.training.training_session import run_training

    load_plugin_files(plugin, quiet=json)
    flags = {"train.steps": steps, "train.batch_size": batch_size, "train.seed": seed}
    options = merge_flags(
        parse_assignments(option or ()), {name: value for name, value in flags.items() if value is not None}
    )
    if resume and (options or data):
        raise InputError("--resume takes everything from --out: beside it only RUN and --device")
    if resume and overwrite:
        raise InputError("--resume continues the classifier in --out, and --overwrite replaces it: choose one")
    grouped = group_options(options, GROUPS)
    trainer = _resumed(run, out, device) if resume else _planned(run, out, data, grouped, device, overwrite)
    run_training(trainer, quiet=json)
    if trainer.interrupted:
        again = f"sdekit train-classifier {quoted(run)} --out {quoted(out)} --resume"
        note("stopped at step {} and saved: go on with  [bold]{}[/]", trainer.step, again)
        raise typer.Exit(130)
    from sdekit.data import trained_labels

    accuracy = trainer.evaluate()["accuracy"]
    if json:
        seconds = round(trainer.seconds, 2)
        print_json({"run": str(out), "steps": trainer.step, "seconds": seconds, "accuracy": accuracy})
        return
    by_level = ", ".join(f"{value:.0%} at {rho}" for rho, value in accuracy.items()) or "no item was held out"
    recipe = trainer.recipe
    label = trained_labels(recipe.classes, recipe.untrained)[0]
    name = quoted(recipe.class_names[label] if recipe.class_names else label)
    guide = f"sdekit sample {quoted(run)} --label {name} --guidance {quoted(f'classifier:run={out}')} --out samples"
    note(
        "trained {} steps in {:.0f} s; held-out accuracy by noise level: {}. Guide with  [bold]{}[/]",
        *(trainer.step, trainer.seconds, by_level, guide),
    )


def _planned(run: Path, out: Path, data: str | None, groups: dict[str, Any], device: str, overwrite: bool) -> "Trainer":
    """Make the trainer of a new classifier."""
    from sdekit.data import parse_spec
    from sdekit.networks import Encoder
    from sdekit.registry import component_names, component_options, convert_options
    from sdekit.runs import (
        CONFIG,
        LOCK,
        TrainOptions,
        check_run_folder,
        check_writable,
        names_in,
        read_recipe,
        recover_run,
    )
    from sdekit.training import Trainer, classifier_recipe, is_classifier, load_data
    from sdekit_cli.terminal.progress import working
    from sdekit_cli.training.training_session import process_rank

    recipe = read_recipe(run, with_data=data is None)
    recover_run(out)
    if (
        process_rank() == 0
        and not overwrite
        and out.exists()
        and (not out.is_dir() or names_in(out) not in ([], [LOCK]))
    ):
        raise InputError(
            f"{out} is not empty: choose another --out, continue the training in it with --resume, or add --overwrite"
        )
    if process_rank() == 0 and overwrite:
        check_run_folder(out, overwrite=True)
        if (out / CONFIG).exists() and not is_classifier(out):
            raise InputError(f"{out} is a run, not a classifier: choose another --out")
    if process_rank() == 0:
        check_writable(out, "--out")
    spec = recipe.data.name if data is None else data
    of_data = component_options("dataset", parse_spec(spec, component_names("dataset"))[0], groups["data"])
    of_data = recipe.data.options | of_data if data is None else of_data
    train, network = (
        convert_options("train", TrainOptions, groups["train"]),
        convert_options("network", Encoder, groups["network"]),
    )
    with working("reading the data ..."):
        items, source = load_data(spec, **of_data)
    classifier = classifier_recipe(recipe, items, source=source, train=train, network=network)
    return Trainer(classifier, items, out, device=pick_device(device), overwrite=overwrite)


def _resumed(run: Path, out: Path, device: str) -> "Trainer":
    """Make the trainer that continues a classifier."""
    from sdekit.runs import model_step, read_recipe
    from sdekit.training import Trainer, load_run_data, read_classifier
    from sdekit_cli.terminal.progress import working

    recipe, guided = read_classifier(out, resume=True), read_recipe(run)
    if (recipe.sde, recipe.shape) != (guided.sde, guided.shape):
        raise InputError(f"{out} was trained for another run than {run}: its process or shape is another")
    if model_step(out) == recipe.train.steps:
        raise InputError(f"{out} is trained to its last step: there is nothing to resume")
    with working("reading the data ..."):
        items = load_run_data(recipe)
    return Trainer(recipe, items, out, device=pick_device(device), resume=True)
