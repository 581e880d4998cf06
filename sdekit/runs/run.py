"""Open a run folder: its recipe, its model and its metrics."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sdekit.arguments import check_path
from sdekit.data import is_python_object
from sdekit.errors import InputError
from sdekit.models import OpenedModel, ScoreModel, open_with, recognises
from sdekit.registry import component_names, plugin_files

from .files import REMEDY, check_recipe, load_json, load_tensors, load_tied, step_of
from .json_files import parse_json, read_bounded
from .layout import CONFIG, EXPORT, RunFolder
from .network_limits import SMALL, build_bounded, build_recorded
from .recipe import Recipe, check_saved_network
from .schema import check_fields, check_format, is_row
from .staging import recover

if TYPE_CHECKING:
    from sdekit.backends import Backend

PATH_FORMATS = ("images", "mnist", "array", "table", "sequences")
"""Built-in data sets with the path of a file or folder in their SPEC. In the SPEC of a plugin it may be any text."""

MOST_METRICS = 2**28
"""Largest size in bytes of metrics.jsonl."""

NOT_A_RUN = "{0} is a classifier, not a run: use it as  --guidance classifier:run={0}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Run(OpenedModel):
    """A trained model and its recipe, read from a run folder or an export.

    Arguments:
        model: The denoiser with EMA weights, in evaluation mode.
        shape: Shape of one sample in the model's units.
        path: The folder.
        units: Affine map between the units of the data and those of the model.
        kind: "vector", "sequence", "image" or "volume".
        classes: Number of classes of the data.
        class_names: Names of the classes, or empty.
        channel_names: Name of each channel of sequences, or empty.
        sample_rate: Number of values of a sequence per second, or None if it is not known.
        condition_names: Names of the numbers that the model takes as its condition, or empty.
        condition_units: Units of these numbers.
        columns: Columns of a table, or empty.
        grid: None, since a run recommends no grid.
        makers_grid: None.
        step: Training step of the weights.
        facts: The format: "run" or "export".
        guesses: Empty, since the recipe states all facts.
        codec: None.
        encoder: None.
        recipe: Everything that `config.json` records.
    """

    recipe: Recipe
    step: int

    @classmethod
    def from_recipe(cls, path: Path, recipe: Recipe, model: ScoreModel, step: int) -> Run:
        """Create a run, with the facts about the data from its recipe."""
        data = ("shape", "units", "kind", "classes", "class_names", "channel_names", "sample_rate")
        names = (*data, "condition_names", "condition_units", "columns")
        return cls(path=path, model=model, recipe=recipe, step=step, **{name: getattr(recipe, name) for name in names})


def load_run(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    backend: Backend | str | None = None,
    trust: bool = False,
    step: int | None = None,
    network: Any = None,
) -> Run:
    """Open a run folder, or an export of a run, for sampling. `sdekit.open_model` also opens other formats.

    No code in a run folder is executed.

    Arguments:
        path: Run folder of `sdekit train`, or folder of `sdekit export`.
        device: Device of the weights.
        backend: How the network is run: a registered name or `backend(network)`, see `ScoreModel.run_with`.
        trust: Allow exports in formats that run code from the file, and import the network of the user's own with
            which a run was trained.
        step: Open the averaged weights that were stored at this training step, not the last ones.
        network: Network of the user's own with which the run was trained: a module, or its class or factory. A module
            is copied, and the copy gets the weights of the run.
    Returns:
        The run. Its model has the EMA weights and is in evaluation mode.
    Raises:
        InputError: If the run is missing, damaged, altered or newer than this sdekit. The message names the file.
    """
    path = Path(check_path("load_run", path))
    loader = "export" if is_export(path) else "run"
    if network is not None and loader == "export":
        raise InputError(f"{path} is an export, which contains its network: leave out network=")
    options = None if network is None else {"network": network}
    run = open_with(loader, path, device=device, backend=backend, trust=trust, step=step, options=options)
    if not isinstance(run, Run):
        raise InputError(f"{path} is an export of a model that is not a run: open it by sdekit.open_model")
    return run


def is_export(path: Path) -> bool:
    """Return whether a folder was written by `sdekit export`. A replacement that was interrupted is finished first.

    Arguments:
        path: Folder, which need not exist.
    Returns:
        True if it contains export.json.
    """
    recover(path)
    return (path / EXPORT).exists()


def is_run(path: Path) -> bool:
    """Return whether a folder is a run folder. A replacement that was interrupted is finished first.

    Arguments:
        path: Folder, which need not exist.
    Returns:
        True if it contains config.json, and is not an export.
    """
    return not is_export(path) and (path / CONFIG).is_file()


@recognises(is_run)
def load_run_folder(path: str | Path, *, step: int | None = None, trust: bool = False, network: Any = None) -> Run:
    """A run folder of `sdekit train`, with the EMA weights.

    Arguments:
        path: The folder.
        step: Training step of averaged weights that were stored, or None for the last weights.
        trust: Whether the network of the user's own with which the run was trained is imported.
        network: Network of the user's own, for Python only: a module, a class or a factory.
    Returns:
        The run, on the CPU.
    Raises:
        InputError: If the run is missing, damaged, altered or newer than this sdekit.
    """
    folder = RunFolder(Path(path))
    recipe = _with_own_network(read_recipe(folder.path), folder.path, network, trust=trust)
    file = folder.model if step is None else _snapshot(folder, step)
    if not file.exists() and folder.checkpoint.exists():
        raise InputError(f"{file} is missing. {REMEDY} (--resume writes it from the checkpoint)")
    if not file.exists():
        raise InputError(
            f"{file} is missing: the run was not trained as far as its first checkpoint. Train it with --resume"
        )
    weights, fields = load_tensors(file)
    model = _build(folder, recipe, sum(tensor.numel() for tensor in weights.values()))
    try:
        load_tied(model.network, weights)
    except RuntimeError as error:
        expected = CONFIG if recipe.own_network is None else f"the class {recipe.own_network.name} as it was created"
        raise InputError(f"{file} does not fit the network of {expected}: {error}") from error
    check_recipe(file, fields, recipe)
    if step is not None and step_of(file, fields) != step:
        raise InputError(f"{file} contains the weights of step {step_of(file, fields)}. {REMEDY}")
    return Run.from_recipe(folder.path, recipe, model, step_of(file, fields))


def read_recipe(path: Path, *, with_data: bool = False, objective: str | None = "denoising") -> Recipe:
    """Read the recipe of a run folder, and check that everything it needs outside the folder exists.

    Arguments:
        path: The folder.
        with_data: Also check the data set and its files, which training needs.
        objective: Objective that the run must have, or None for any.
    Returns:
        The recipe.
    Raises:
        InputError: If the folder is not a run, is damaged or newer than this sdekit, or needs a plugin file that is
            not loaded.
    """
    recipe, files = read_config(path)
    if objective is not None and recipe.objective != objective:
        if recipe.objective == "classification":
            raise InputError(NOT_A_RUN.format(path))
        raise InputError(f"{path} was trained with the objective {recipe.objective!r}; expected {objective!r}")
    components = {"sde": recipe.sde.name, "objective": recipe.objective}
    if recipe.objective != "classification":  # its network is not a registered one
        components["network"] = recipe.network.name
    _check_plugin_files(path, components | ({"dataset": recipe.data.name} if with_data else {}), files)
    if with_data:
        check_saved_data(path, recipe)
        _check_data_files(path, recipe.data.name)
    return recipe


def read_config(path: Path) -> tuple[Recipe, Sequence[str]]:
    """Read config.json of a run folder.

    Arguments:
        path: The folder.
    Returns:
        The recipe, and the plugin files that were loaded during training.
    Raises:
        InputError: If the folder is not a run, is damaged or newer than this sdekit.
    """
    config = RunFolder(path).config
    recover(path)
    if not path.is_dir():
        raise InputError(f"{path}: no such run folder")
    if not config.exists():
        raise InputError(f"{path} is not a run folder: {CONFIG} is missing")
    fields = load_json(config)
    check_format(fields, config)
    if fields.get("kind") == "classifier":
        raise InputError(NOT_A_RUN.format(path))
    record = check_fields(fields, config)
    try:
        return Recipe.from_dict(fields), record.plugins or ()
    except (TypeError, InputError) as error:
        raise InputError(f"{config} does not describe a run ({error})") from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the metrics of a run.

    Arguments:
        path: Run folder.
    Returns:
        One table for each complete line of metrics.jsonl; lines that a crash cut short are left out.
    Raises:
        InputError: If the file cannot be read.
    """
    metrics = RunFolder(path).metrics
    try:
        lines = read_bounded(metrics, MOST_METRICS).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{metrics} cannot be read ({error.strerror or error}): move it away") from error
    rows = []
    for line in lines:
        with suppress(ValueError):
            rows.append(parse_json(line))
    return [row for row in rows if is_row(row)]


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the last checkpoint of a run.

    Arguments:
        path: Run folder.
    Returns:
        Tensors by name, and the fields: step, seconds and more.
    Raises:
        InputError: If the checkpoint is missing or damaged.
    """
    return load_tensors(RunFolder(path).checkpoint)


def when_written(path: str | Path) -> tuple[int, ...]:
    """Return the modification times of the config and the weights in a folder.

    Arguments:
        path: Run folder.
    Returns:
        Times in nanoseconds, which stay the same as long as the files are unchanged.
    """
    files = [file for file in sorted(Path(path).glob("*")) if file.suffix in (".json", ".safetensors")]
    return tuple(file.stat().st_mtime_ns for file in files)


def _with_own_network(recipe: Recipe, path: Path, network: Any, *, trust: bool) -> Recipe:
    """Return the recipe with the network of the user's own that is passed, or imported if the run is trusted."""
    name = recipe.network.name
    if network is None:
        if not (trust and is_python_object(name)):
            return recipe
        from sdekit.networks import import_own_network

        return replace(recipe, own_network=import_own_network(name))
    from sdekit.networks import OwnNetwork

    if not is_python_object(name):
        raise InputError(f"{path} was trained with the registered network {name!r}: leave out network=")
    return replace(recipe, own_network=network if isinstance(network, OwnNetwork) else OwnNetwork(network))


def _build(folder: RunFolder, recipe: Recipe, weights: int) -> ScoreModel:
    """Build the model of a config.json, which may have been edited by hand, with at most twice the saved weights."""
    build_recorded(folder.config, "sde", lambda: recipe.sde.build("sde"))
    if recipe.own_network is not None:
        return recipe.build()
    check_saved_network(recipe.network.name)
    most = 2 * weights + SMALL
    return build_recorded(folder.config, "network", lambda: build_bounded(recipe.build, most))


def _snapshot(folder: RunFolder, step: int) -> Path:
    """Return the file of the averaged weights of a step."""
    file = folder.snapshot(step)
    if not file.exists():
        steps = ", ".join(map(str, folder.snapshot_steps()))
        raise InputError(
            f"{folder.path} has no weights of step {step}: it has those of {steps}"
            if steps
            else f"{folder.path} has no weights of earlier steps: train with --option train.keep_every=N"
        )
    return file


def _check_plugin_files(path: Path, components: Mapping[str, str], recorded: Sequence[str]) -> None:
    """Raise InputError if a component is registered only by a plugin file that is not loaded.

    The message lists the --plugin options that the user must add.
    """
    files = [file for file in recorded if file not in plugin_files()]
    for kind, spec in components.items():
        name = spec.partition(":")[0]
        if files and not is_python_object(spec) and name not in component_names(kind):
            missing = ", ".join(file for file in files if not Path(file).is_file())
            raise InputError(
                f"{path} was trained with a plugin file, and its {kind} {name!r} needs that file: add "
                + " ".join(f"--plugin {file}" for file in files)
                + (f" (not found: {missing}; give its present path)" if missing else "")
            )


def check_saved_data(path: Path | None, recipe: Recipe) -> None:
    """Raise InputError if a run was trained on a Python object, which its folder does not contain.

    Arguments:
        path: Run folder, or None if it is not known.
        recipe: Recipe of the run.
    Raises:
        InputError: If the data are a Python object. The message states the remedy.
    """
    if is_python_object(recipe.data.name):
        run = "RUN" if path is None else str(path)
        kind = recipe.data.name.partition(":")[2]
        raise InputError(
            f"{'the run' if path is None else path} was trained on a Python object ({kind}), which a run folder does "
            f"not contain: pass the same data again. sdekit.train(data, {run!r}, resume=True) continues the training; "
            "other commands need --data SPEC, with these items in a file"
        )


def _check_data_files(path: Path, spec: str) -> None:
    """Raise InputError, with advice, if the files that a run was trained on do not exist."""
    name, _, place = spec.partition(":")
    if name not in PATH_FORMATS or not place or os.path.exists(os.path.expanduser(place)):
        return
    if os.path.isabs(os.path.expanduser(place)):
        raise InputError(
            f"{path} was trained on {spec}, which does not exist any more: put the data back, or a link to its present "
            f"place, or continue the training with --resume --data {name}:PATH"
        )
    raise InputError(
        f"{path} was trained on {spec}, a path relative to the folder in which training started. From here this is "
        f"{os.path.abspath(place)}, which does not exist: run the command in that folder, or put a link to the data "
        f"here, or continue the training with --resume --data {name}:PATH"
    )
