"""The recipe of a run: everything that `config.json` records."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch

from sdekit import __version__
from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.models import Condition, Conditioning, ScoreModel, example_conditions
from sdekit.registry import build, plugin_files

from .schema import FORMAT
from .training_options import REMOVED_OPTIONS, TrainOptions

PLAIN = (
    "objective",
    "prediction",
    "condition",
    "shape",
    "kind",
    "items",
    "classes",
    "class_names",
    "condition_names",
    "condition_shape",
    "data_std",
)

LEGACY_DEFAULTS: dict[str, Any] = {"noise_top": 0.0, "exact_target": 0}
"""Of a run whose record does not name a training option: what it did before there was one, so that it goes on alike."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A registered component and its options: what a run folder records, and rebuilds."""

    name: str
    options: dict[str, Any]

    def build(self, kind: str, *args: Any) -> Any:
        """The object itself; args come before the options."""
        return build(kind, self.name, *args, **self.options)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Component:
        """Read from JSON (lists become tuples)."""
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in fields["options"].items()}
        return cls(name=fields["name"], options=options)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that defines a run: `config.json` is this.

    data: the SPEC as given, and its options. condition: "none", "label", "numbers", "embedding" or "sequence", the
    condition of the network. shape, kind, items (how many), classes, class_names, units: of the data set. data_std:
    their standard deviation in the model's units. condition_names: of numbers. condition_units: of numbers and
    embeddings. condition_shape: (d,) of an embedding, or (L, d) of a sequence of embeddings.
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
    objective: str = "denoising"
    condition_shape: tuple[int, ...] = ()

    def build(self) -> ScoreModel:
        """The model with fresh weights, drawn from the run's seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.train.seed)
            classes = self.classes if self.condition == "label" else 0
            network = self.network.build("network", self.shape, classes)
        return ScoreModel(
            network, self.sde.build("sde"), self.prediction, data_std=self.data_std, condition=self.conditioning
        )

    @property
    def conditioning(self) -> Conditioning:
        """What the network is told, and whether it knows the null condition."""
        null = self.condition == "none" or self.train.drop > 0
        if self.condition == "label":
            return Conditioning(classes=self.classes, class_names=self.class_names, null=null)
        if self.condition == "embedding":
            return Conditioning(embedding=self.condition_shape[0], null=null)
        if self.condition == "sequence":
            return Conditioning(sequence=(self.condition_shape[0], self.condition_shape[1]), null=null)
        return Conditioning(numbers=len(self.condition_names) if self.condition == "numbers" else 0, null=null)

    def examples(self, n: int) -> torch.Tensor | None:
        """Return n conditions to try the model with, or None if it takes no condition."""
        examples = example_conditions(self.conditioning, n)
        assert not isinstance(examples, Condition)  # a run has no condition of several parts
        return examples

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
        told: tuple[object, ...] = (
            self.condition,
            self.condition_names,
            self.conditioning.classes,
            self.conditioning.null,
        )
        told += (self.condition_shape,) if self.condition_shape else ()  # absent from the records of older runs
        parts = (vars(self.sde), vars(self.network), self.prediction, self.shape, self.data_std, units, told)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the recipe, its format and the versions that wrote it."""
        packages = ("torch", "torchdiffeq", "numpy", "scipy", "safetensors")
        return {
            "format": FORMAT,
            "versions": {"sdekit": __version__, "python": platform.python_version()}
            | {p: version(p) for p in packages},
            "plugins": plugin_files(),
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
            train=TrainOptions(
                **LEGACY_DEFAULTS | {k: v for k, v in fields["train"].items() if k not in REMOVED_OPTIONS}
            ),
            units=Units.from_dict(fields["units"]),
            condition_units=Units.from_dict(told) if (told := fields.get("condition_units")) else None,
            **plain,
        )
