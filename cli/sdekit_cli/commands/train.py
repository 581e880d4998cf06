"""`sdekit train`."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit.errors import InputError
from sdekit_cli.options.shared_options import Loggers, PluginFiles, load_plugin_files, parse_loggers, pick_device
from sdekit_cli.terminal.console import print_json

if TYPE_CHECKING:
    from sdekit.runs import Component
    from sdekit.training import Trainer

GROUPS = ("data", "process", "network", "train")
KEYS = ("data", "process", "network", "prediction", "condition")
DEFAULT_STEPS = 5000


def train(
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="digits (default), moons, ..., images:PATH, mnist:PATH, array:PATH, table:PATH, sequences:PATH or "
            "hf:NAME. To list all: sdekit plugins list --kind dataset",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML run file; flags override it.")] = None,
    process: Annotated[
        str | None, typer.Option("--process", "--sde", help="Process: vp (default), ve, sub-vp, cosine, edm, ...")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Default: unet for images of 8 or more pixels a side, else mlp.")
    ] = None,
    prediction: Annotated[str | None, typer.Option(help="edm (default), eps, v, flow or x0.")] = None,
    condition: Annotated[
        str | None, typer.Option(help="none (default), label, or numbers of the data: COLUMN,COLUMN of a table.")
    ] = None,
    drop: Annotated[
        float | None, typer.Option(help="How often to train without the condition; 0.1 suits guidance by cfg.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help=f"Optimizer steps ({DEFAULT_STEPS} if no limit is given).")] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds of training: the whole run, or, beside --steps, this session.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Items a step (64 if they are tiny, else 32).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    evaluate_every: Annotated[
        int | None, typer.Option(help="Steps between comparisons of a few samples with held-out data.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME:OPTION=VALUE,...", help="Metric of --evaluate-every (energy).")
    ] = None,
    logger: Loggers = None,
    size: Annotated[
        str | None, typer.Option(metavar="N or WxH", help="Crop and resize images to this many pixels, such as 64x48.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Pass over images that cannot be read.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32 (default) or bf16.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP.NAME=VALUE", help="Any option of data, process, network or train; repeat it."),
    ] = None,
    plugin: PluginFiles = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; with --data if its data have moved.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a score network on data.

    Ctrl-C saves, and --resume continues exactly. The run folder contains config.json, model.safetensors (averaged
    weights), checkpoint/, metrics.jsonl and previews/. If the loss of held-out data rises, model.safetensors contains
    the weights from before; --option train.weights=last turns this off. `sdekit plugins show unet` shows every option
    of a network.
    Several processes train together: torchrun --nproc-per-node 2 -m sdekit_cli train ...

    Examples:

      sdekit train --data digits --out run --time-limit 120

      sdekit train --data images:photos --size 64 --process ve --out run --steps 20000 --option train.batch_size=64

      sdekit train --condition label --drop 0.1 --out run --time-limit 200

      sdekit train --logger tensorboard --logger wandb:project=digits --out run

      sdekit train --out run --resume
    """
    from sdekit.registry import parse_assignments
    from sdekit_cli.options.assignments import merge_flags
    from sdekit_cli.training.training_session import run_training
    from sdekit_cli.training.training_summary import print_summary, training_summary

    load_plugin_files(plugin, quiet=json)
    names = dict(data=data, process=process, network=network, prediction=prediction, condition=condition)
    names = {
        key: name if key in ("data", "process", "network") or name is None else name.lower()
        for key, name in names.items()
    }
    flags = {
        "train.batch_size": batch_size,
        "train.seed": seed,
        "train.checkpoint_every": checkpoint_every,
        "train.evaluate_every": evaluate_every,
        "train.metric": metric,
        "train.precision": precision,
        "train.drop": drop,
        "data.size": int(size) if size is not None and size.isdecimal() else size,
        "data.skip_bad": skip_bad or None,
    }
    length = {"train.steps": steps, "train.time_limit": time_limit}
    given = {name: value for name, value in flags.items() if value is not None}
    length = {name: value for name, value in length.items() if value is not None}
    chosen = {name: value for name, value in names.items() if value is not None}
    loggers = parse_loggers(logger)
    if resume:
        if given.keys() - {"data.skip_bad"} or chosen.keys() - {"data"} or config or option or overwrite:
            raise InputError(
                "--resume takes everything from the run: beside it only --steps, --time-limit, --skip-bad, --device, "
                "--logger, and --data if the data have moved"
            )
        trainer = _resumed(out, data, length, device, skip_bad, loggers)
    else:
        read, options = _read_config(config)
        options = options | merge_flags(parse_assignments(option or ()), given | length)
        trainer = _planned(read | chosen, options, out, device, overwrite, given, loggers)
    before = trainer.step
    loss = run_training(trainer, quiet=json)
    summary = training_summary(trainer, out, loss)
    if json:
        print_json(summary)
    if trainer.interrupted or not json:
        print_summary(trainer, out, summary, resumed=resume, before=before)
    if trainer.interrupted:
        raise typer.Exit(130)


def _read_config(config: Path | None) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the names and options of the config file; both are empty without a file."""
    if config is None:
        return {}, {}
    from sdekit_cli.options.config_file import read_config

    return read_config(config, KEYS, GROUPS)


def _planned(
    names: dict[str, str],
    options: dict[str, Any],
    out: Path,
    device: str,
    overwrite: bool,
    flags: Collection[str],
    loggers: "Sequence[Component] | None",
) -> "Trainer":
    """Make the trainer of a new run. `flags` contains the options that were given by a flag of their own."""
    from sdekit.registry import component_options, convert_options, parse_component
    from sdekit_cli.options.assignments import group_options
    from sdekit_cli.terminal.progress import working

    groups = group_options(options, GROUPS)
    if not {"steps", "time_limit"} & set(groups["train"]):
        groups["train"]["steps"] = DEFAULT_STEPS
    from sdekit.data import parse_spec
    from sdekit.registry import component_names
    from sdekit.runs import TrainOptions, check_run_folder
    from sdekit.training import Trainer, plan
    from sdekit_cli.training.training_session import process_rank

    spec = names.pop("data", "digits")
    kind = parse_spec(spec, component_names("dataset"))[0]
    _check_flags(kind, flags)
    groups["data"] = component_options("dataset", kind, groups["data"])
    for group, component in (("process", "sde"), ("network", "network")):
        if group in names:
            names[group], written = parse_component(names[group], component)
            if twice := written.keys() & groups[group].keys():
                raise InputError(f"option {min(twice)!r} of the {group} is given twice, in --{group} and --option")
            groups[group] = written | groups[group]
    groups["sde"] = component_options("sde", names.get("process", "vp"), groups.pop("process"))
    if "process" in names:
        names["sde"] = names.pop("process")
    if "network" in names:  # otherwise `plan` chooses the network for the data, and converts its options
        groups["network"] = component_options("network", names["network"], groups["network"])
    groups["train"] = convert_options("train", TrainOptions, groups["train"])
    if process_rank() == 0:
        check_run_folder(out, overwrite=overwrite)
    with working("reading the data ..."):
        recipe, data = plan(spec, **names, options=groups)
    return Trainer(recipe, data, out, device=pick_device(device), overwrite=overwrite, loggers=loggers)


def _check_flags(dataset: str, flags: Collection[str]) -> None:
    """Raise InputError for --size and --skip-bad if the data set does not have these options."""
    from sdekit.registry import find_component, parameters

    known = parameters(find_component("dataset", dataset).load())
    for name, flag in (("size", "--size"), ("skip_bad", "--skip-bad")):
        if f"data.{name}" in flags and name not in known:
            raise InputError(f"{flag} applies to images:PATH only, and the data are {dataset}: remove {flag}")


def _resumed(
    out: Path,
    spec: str | None,
    length: dict[str, Any],
    device: str,
    skip_bad: bool,
    loggers: "Sequence[Component] | None",
) -> "Trainer":
    """Make the trainer that continues a run. `spec` is the data of the run at another place, or None."""
    from dataclasses import replace

    from sdekit.registry import convert_options
    from sdekit.runs import TrainOptions, read_recipe
    from sdekit.training import Trainer, load_run_data
    from sdekit_cli.terminal.progress import working

    recipe = read_recipe(out, with_data=spec is None)
    changes = convert_options("train", TrainOptions, {name.partition(".")[2]: value for name, value in length.items()})
    recipe = replace(recipe, train=replace(recipe.train, **changes))
    if skip_bad and "skip_bad" not in recipe.data.options:
        raise InputError(f"--skip-bad applies to images:PATH only, and the run was trained on {recipe.data.name}")
    if skip_bad:
        recipe = replace(recipe, data=replace(recipe.data, options=recipe.data.options | {"skip_bad": True}))
    with working("reading the data ..."):
        data = load_run_data(recipe, spec)
    if spec is not None and spec.partition(":")[0] == recipe.data.name.partition(":")[0]:
        recipe = replace(recipe, data=replace(recipe.data, name=spec))
    return Trainer(recipe, data, out, device=pick_device(device), resume=True, loggers=loggers)
