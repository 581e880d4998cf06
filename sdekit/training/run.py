"""The run folder: everything that a training came to, and enough to rebuild it anywhere."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sdekit import __version__
from sdekit.data.base import Units
from sdekit.errors import InputError
from sdekit.model import ScoreModel
from sdekit.plugins import local_files, make

from .checkpoint import load_json, load_tensors
from .options import TrainOptions

FORMAT = 1
"""Version of the run folder's layout; raised when an older sdekit could not read it."""

CONFIG, MODEL, CHECKPOINT, METRICS, PREVIEWS = (
    "config.json",
    "model.safetensors",
    "checkpoint/training.safetensors",
    "metrics.jsonl",
    "previews",
)
PLAIN = ("prediction", "condition", "shape", "kind", "items", "classes", "class_names", "data_std")


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

    data: the SPEC as given, and its options. condition: "none" or "label", what the network is told. shape, kind,
    items (how many), classes, class_names, units: of the data set. data_std: their standard deviation in the model's
    units.
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

    def build(self) -> ScoreModel:
        """The model with fresh weights, drawn from the run's seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.train.seed)
            classes = self.classes if self.condition == "label" else 0
            network = self.network.make("network", self.shape, classes)
        return ScoreModel(network, self.sde.make("sde"), self.prediction, data_std=self.data_std)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the recipe, its format and the versions that wrote it."""
        packages = ("torch", "torchdiffeq", "numpy", "scipy", "safetensors")
        return {
            "format": FORMAT,
            "versions": {"sdekit": __version__, "python": platform.python_version()}
            | {p: version(p) for p in packages},
            "plugins": local_files(),
            **{name: vars(getattr(self, name)) for name in ("data", "sde", "network", "train", "units")},
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
            train=TrainOptions(**fields["train"]),
            units=Units.from_dict(fields["units"]),
            **plain,
        )


@dataclass(frozen=True)
class Run:
    """A trained model read from its folder. model: the denoiser, EMA weights, in evaluation mode."""

    path: Path
    recipe: Recipe
    model: ScoreModel
    step: int


def read_recipe(path: Path) -> Recipe:
    """The recipe of a run folder; InputError where it is none, damaged, or written by a newer sdekit."""
    if not path.is_dir():
        raise InputError(f"{path}: no such run folder")
    if not (path / CONFIG).exists():
        raise InputError(f"{path} is no run folder: {CONFIG} is missing")
    fields = load_json(path / CONFIG)
    if fields.get("format", 0) > FORMAT:
        wrote = fields.get("versions", {}).get("sdekit", "a newer version")
        raise InputError(
            f"{path} was written by sdekit {wrote} (run format {fields['format']}); this is {__version__} (format "
            f"{FORMAT}): upgrade sdekit to read it"
        )
    try:
        return Recipe.from_dict(fields)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path / CONFIG} does not describe a run ({type(error).__name__}: {error})") from error


def load_run(path: str | Path, *, device: torch.device | str = "cpu") -> Run:
    """Open a run folder for sampling: its model with EMA weights on `device`.

    Nothing of the folder is executed. Raises InputError for a missing, damaged, altered or newer run, naming the file.
    """
    path = Path(path)
    recipe = read_recipe(path)
    weights, fields = load_tensors(path / MODEL)
    model = recipe.build()
    try:
        model.network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path / MODEL} does not fit the network of {CONFIG}: {error}") from error
    return Run(path, recipe, model.to(device).eval().requires_grad_(False), int(fields["step"]))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl; a last line cut short by a crash is left out."""
    rows = []
    for line in (path / METRICS).read_text(errors="replace").splitlines() if (path / METRICS).exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def load_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and counters of the last checkpoint of a run folder."""
    return load_tensors(path / CHECKPOINT)
