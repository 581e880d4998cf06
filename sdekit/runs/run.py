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
from sdekit.models import ScoreModel

from .files import check_recipe, load_json, load_tensors, step_of
from .layout import CHECKPOINT, CONFIG, EXPORT, METRICS, MODEL, SNAPSHOTS, snapshot_name
from .recipe import Recipe
from .requirements import check_data, check_files
from .schema import check_fields, check_format, is_row
from .tied_weights import load_tied


@dataclass(frozen=True)
class Run:
    """A trained model read from its folder. model: the denoiser, EMA weights, in evaluation mode."""

    path: Path
    recipe: Recipe
    model: ScoreModel
    step: int


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
    """Open a run folder for sampling: its model with EMA weights on `device`; or one that `sdekit export` wrote.

    backend: how the network is run, see `ScoreModel.run_with`. step: the weights that were kept at that step, not the
    last. Nothing of a run folder is executed; trust allows exports in formats that run what they hold. Raises
    InputError for a missing, damaged, altered or newer run, naming the file.
    """
    path = Path(path)
    if (path / EXPORT).exists():
        from sdekit.export import load_export

        if step is not None:
            raise InputError(f"{path} is an export, which holds the weights of one step only")
        exported = load_export(path, device=device, trust=trust)
        if backend is not None:
            exported.model.run_with(backend)
        return exported
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
    if backend is not None:
        model.run_with(backend)
    return Run(path, recipe, model.to(device).eval().requires_grad_(False), step_of(file, fields))


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
