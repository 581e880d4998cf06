"""A run folder read back: its recipe, its model and its metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sdekit.backends import Backend
from sdekit.errors import InputError
from sdekit.models import OpenedModel, ScoreModel, open_with, recognises

from .files import check_recipe, load_json, load_tensors, step_of
from .layout import CHECKPOINT, CONFIG, EXPORT, METRICS, MODEL, SNAPSHOTS, snapshot_name
from .recipe import Recipe
from .requirements import check_data, check_files
from .schema import check_fields, check_format, is_row
from .tied_weights import load_tied


@dataclass(frozen=True, kw_only=True)
class Run(OpenedModel):
    """A trained model and its recipe, read from a run folder or an export.

    Arguments:
        model: The denoiser with EMA weights, in evaluation mode.
        shape: Shape of one sample in the model's units.
        path: The folder.
        units: Affine map between the units of the data and those of the model.
        kind: "image" or "vector".
        classes: Number of classes of the data.
        class_names: Names of the classes, or empty.
        condition_names: Names of the numbers that the model takes as its condition, or empty.
        condition_units: Units of these numbers.
        grid: None, since a run recommends no grid.
        step: Training step of the weights.
        facts: The format: "run" or "export".
        recipe: Everything that `config.json` records.
    """

    recipe: Recipe
    step: int

    @classmethod
    def from_recipe(cls, path: Path, recipe: Recipe, model: ScoreModel, step: int) -> Run:
        """Take the facts about the data from the recipe."""
        names = ("shape", "units", "kind", "classes", "class_names", "condition_names", "condition_units")
        return cls(path=path, model=model, recipe=recipe, step=step, **{name: getattr(recipe, name) for name in names})


def read_recipe(path: Path, *, with_data: bool = False) -> Recipe:
    """The recipe of a run folder; InputError where it is none, damaged, or written by a newer sdekit.

    An error too where the run leans on a plugin file that is not in use: for its process and network, and with_data
    for its data set, whose files must be there too.
    """
    recipe, files = read_config(path)
    needed = {"sde": recipe.sde.name, "network": recipe.network.name}
    check_files(path, needed | ({"dataset": recipe.data.name} if with_data else {}), files)
    if with_data:
        check_data(path, recipe.data.name)
    return recipe


def read_config(path: Path) -> tuple[Recipe, Sequence[str]]:
    """The recipe of a run folder and the plugin files that were in use; InputError as of `read_recipe`."""
    if not path.is_dir():
        raise InputError(f"{path}: no such run folder")
    if not (path / CONFIG).exists():
        raise InputError(f"{path} is no run folder: {CONFIG} is missing")
    fields = load_json(path / CONFIG)
    check_format(fields, path / CONFIG)
    if fields.get("kind") == "classifier":
        raise InputError(f"{path} is a classifier and no run: use it as  --guidance classifier:run={path}")
    check_fields(fields, path / CONFIG)
    try:
        return Recipe.from_dict(fields), fields.get("plugins") or ()
    except (TypeError, InputError) as error:
        raise InputError(f"{path / CONFIG} does not describe a run ({error})") from error


def load_run(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    backend: Backend | str | None = None,
    trust: bool = False,
    step: int | None = None,
) -> Run:
    """Open a run folder, or an export of one, for sampling. `sdekit.open_model` also opens other formats.

    Nothing in a run folder is executed.

    Arguments:
        path: Run folder of `sdekit train`, or folder of `sdekit export`.
        device: Device of the weights.
        backend: How the network is run: a registered name or `backend(network)`, see `ScoreModel.run_with`.
        trust: Allow exports in formats that run code from the file.
        step: Open the weights that were kept at this training step, not the last ones.
    Returns:
        The run, whose model has the EMA weights and is in evaluation mode.
    Raises:
        InputError: If the run is missing, damaged, altered or newer than this sdekit. The message names the file.
    """
    loader = "export" if is_export(Path(path)) else "run"
    run = open_with(loader, path, device=device, backend=backend, trust=trust, step=step)
    assert isinstance(run, Run)
    return run


@recognises(lambda path: (path / CONFIG).is_file() and not is_export(path))
def load_run_folder(path: str | Path, *, step: int | None = None) -> Run:
    """A run folder of `sdekit train`, with the EMA weights.

    Arguments:
        path: The folder.
        step: Training step of weights that were kept, or None for the last weights.
    Returns:
        The run, on the CPU.
    Raises:
        InputError: If the run is missing, damaged, altered or newer than this sdekit.
    """
    path = Path(path)
    recipe = read_recipe(path)
    file = path / MODEL if step is None else _kept(path, step)
    if not (file.exists() or (path / CHECKPOINT).exists()):
        raise InputError(
            f"{file} is missing: the run was not trained as far as its first checkpoint. Train it with --resume"
        )
    weights, fields = load_tensors(file)
    model = _built(path, recipe)
    try:
        load_tied(model.network, weights)
    except RuntimeError as error:
        raise InputError(f"{file} does not fit the network of {CONFIG}: {error}") from error
    check_recipe(file, fields, recipe.digest)
    return Run.from_recipe(path, recipe, model, step_of(file, fields))


def _built(path: Path, recipe: Recipe) -> ScoreModel:
    """The model of a config.json, which anybody may have written."""
    parts: dict[str, Callable[[], Any]] = {"sde": lambda: recipe.sde.build("sde"), "network": recipe.build}
    for part, build in parts.items():
        try:
            built = build()
        except (InputError, TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
            raise InputError(f"{path / CONFIG}: its {part} cannot be built from its options ({error})") from error
    model: ScoreModel = built
    return model


def _kept(path: Path, step: int) -> Path:
    if not (path / snapshot_name(step)).exists():
        steps = ", ".join(
            str(int(p.stem.removeprefix("step-"))) for p in sorted((path / SNAPSHOTS).glob("step-*.safetensors"))
        )
        raise InputError(
            f"{path} has kept no weights of step {step}: it has those of {steps}"
            if steps
            else f"{path} has kept no weights of earlier steps: train with --option train.keep_every=N"
        )
    return path / snapshot_name(step)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl; a line that is none, such as one that a crash cut short, is left out."""
    try:
        lines = (path / METRICS).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path / METRICS} cannot be read ({error.strerror or error}): move it away") from error
    rows = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            rows.append(json.loads(line))
    return [row for row in rows if is_row(row)]


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and counters of the last checkpoint of a run folder."""
    return load_tensors(path / CHECKPOINT)


def is_export(path: Path) -> bool:
    """Whether a folder was written by `sdekit export`."""
    return (path / EXPORT).exists()
