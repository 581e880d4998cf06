"""The run folder: everything that a training came to, and enough to rebuild it anywhere."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sdekit import __version__
from sdekit.backend import Backend
from sdekit.conditions import Conditioning
from sdekit.data.base import Units
from sdekit.errors import InputError
from sdekit.model import ScoreModel
from sdekit.plugins import local_files, make

from .checkpoint import check_recipe, load_json, load_tensors, step_of
from .fields import FORMAT, check_fields, check_format, is_row
from .needs import check_data, check_files
from .options import TrainOptions
from .shared import load_unshared

CONFIG, MODEL, CHECKPOINT, METRICS, PREVIEWS, KEPT = (
    "config.json",
    "model.safetensors",
    "checkpoint/training.safetensors",
    "metrics.jsonl",
    "previews",
    "kept",
)
EXPORT = "export.json"
"""What the folder of `sdekit export` holds in place of these."""
PLAIN = ("prediction", "condition", "shape", "kind", "items", "classes", "class_names", "condition_names", "data_std")

UNSAID: dict[str, Any] = {"noise_top": 0.0, "exact_target": 0}
"""Of a run whose record does not name a training option: what it did before there was one, so that it goes on alike."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A registered component and its options: what a run folder records, and rebuilds."""

    name: str
    options: dict[str, Any]

    def make(self, kind: str, *args: Any) -> Any:
        """The object itself; args come before the options."""
        return make(kind, self.name, *args, **self.options)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Component:
        """Read from JSON (lists become tuples)."""
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in fields["options"].items()}
        return cls(name=fields["name"], options=options)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that defines a run: `config.json` is this.

    data: the SPEC as given, and its options. condition: "none", "label" or "numbers", what the network is told.
    shape, kind, items (how many), classes, class_names, units: of the data set. data_std: their standard deviation in
    the model's units. condition_names, condition_units: of the numbers that the network is told.
    """

    data: Component
    sde: Component
    network: Component
    prediction: str
    condition: str
    train: TrainOptions
    shape: tuple[int, ...]
    kind: str
    items: int
    classes: int
    class_names: tuple[str, ...]
    units: Units
    data_std: float
    condition_names: tuple[str, ...] = ()
    condition_units: Units | None = None

    def build(self) -> ScoreModel:
        """The model with fresh weights, drawn from the run's seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.train.seed)
            classes = self.classes if self.condition == "label" else 0
            network = self.network.make("network", self.shape, classes)
        return ScoreModel(
            network, self.sde.make("sde"), self.prediction, data_std=self.data_std, condition=self.conditioning
        )

    @property
    def conditioning(self) -> Conditioning:
        """What the network is told, and whether it knows the null condition."""
        classes = self.classes if self.condition == "label" else 0
        numbers = len(self.condition_names) if self.condition == "numbers" else 0
        return Conditioning(classes=classes, numbers=numbers, null=self.condition == "none" or self.train.drop > 0)

    def examples(self, n: int) -> torch.Tensor | None:
        """n conditions to show a model with: the labels in turn, numbers from low to high; None without any."""
        if self.condition == "label":
            return torch.arange(n) % self.classes
        if self.condition == "numbers":
            return torch.linspace(-1.5, 1.5, n)[:, None].repeat(1, len(self.condition_names))
        return None

    def check_same(self, asked: Recipe) -> None:
        """Refuse to resume this run as another: only its length, and whether bad files are skipped, may change."""
        skip = {k: v for k, v in self.data.options.items() if k == "skip_bad"}
        same = replace(
            asked,
            train=replace(asked.train, steps=self.train.steps, time_limit=self.train.time_limit),
            data=replace(asked.data, options=asked.data.options | skip),
        )
        if same != self:
            names = [n for n in vars(self) if getattr(self, n) != getattr(same, n)]
            raise InputError(
                f"cannot resume with another {', '.join(names)} than the run's: leave it out, or train into another "
                "--out"
            )

    @property
    def digest(self) -> str:
        """Of what gives the weights their meaning; they carry it, so that another run's are told from them."""
        units = [(u.shift, u.scale, u.layout) for u in (self.units, self.condition_units) if u is not None]
        told = (self.condition, self.condition_names, self.conditioning.classes, self.conditioning.null)
        parts = (vars(self.sde), vars(self.network), self.prediction, self.shape, self.data_std, units, told)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the recipe, its format and the versions that wrote it."""
        packages = ("torch", "torchdiffeq", "numpy", "scipy", "safetensors")
        return {
            "format": FORMAT,
            "versions": {"sdekit": __version__, "python": platform.python_version()}
            | {p: version(p) for p in packages},
            "plugins": local_files(),
            **{name: vars(getattr(self, name)) for name in ("data", "sde", "network", "train", "units")},
            "condition_units": None if self.condition_units is None else vars(self.condition_units),
            **{name: getattr(self, name) for name in PLAIN},
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Recipe:
        """Read what `as_dict` wrote."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k in PLAIN}
        return cls(
            data=Component.from_dict(fields["data"]),
            sde=Component.from_dict(fields["sde"]),
            network=Component.from_dict(fields["network"]),
            train=TrainOptions(**UNSAID | fields["train"]),
            units=Units.from_dict(fields["units"]),
            condition_units=Units.from_dict(told) if (told := fields.get("condition_units")) else None,
            **plain,
        )


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
        load_unshared(model.network, weights)
    except RuntimeError as error:
        raise InputError(f"{file} does not fit the network of {CONFIG}: {error}") from error
    check_recipe(file, fields, recipe.digest)
    if backend is not None:
        model.run_with(backend)
    return Run(path, recipe, model.to(device).eval().requires_grad_(False), step_of(file, fields))


def _built(path: Path, recipe: Recipe) -> ScoreModel:
    """The model of a config.json, which anybody may have written."""
    parts: dict[str, Callable[[], Any]] = {"sde": lambda: recipe.sde.make("sde"), "network": recipe.build}
    for part, build in parts.items():
        try:
            built = build()
        except (InputError, TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
            raise InputError(f"{path / CONFIG}: its {part} cannot be built from its options ({error})") from error
    model: ScoreModel = built
    return model


def kept_name(step: int) -> str:
    """Where the average of the weights at a step is kept, within the run folder."""
    return f"{KEPT}/step-{step:07d}.safetensors"


def _kept(path: Path, step: int) -> Path:
    if not (path / kept_name(step)).exists():
        steps = ", ".join(
            str(int(p.stem.removeprefix("step-"))) for p in sorted((path / KEPT).glob("step-*.safetensors"))
        )
        raise InputError(
            f"{path} has kept no weights of step {step}: it has those of {steps}"
            if steps
            else f"{path} has kept no weights of earlier steps: train with --option train.keep_every=N"
        )
    return path / kept_name(step)


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
