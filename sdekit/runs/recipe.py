"""Recipe of a run: everything that `config.json` records."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from sdekit import __version__
from sdekit.data import Column, Units, is_python_object
from sdekit.errors import InputError
from sdekit.models import Condition, Conditioning, ScoreModel, example_conditions
from sdekit.registry import build, plugin_files

from .schema import FORMAT
from .training_options import REMOVED_OPTIONS, TrainOptions

if TYPE_CHECKING:
    from sdekit.networks import OwnNetwork

PLAIN = (
    "objective",
    "prediction",
    "condition",
    "shape",
    "kind",
    "items",
    "classes",
    "class_names",
    "untrained",
    "condition_names",
    "condition_shape",
    "channel_names",
    "sample_rate",
    "data_std",
    "notes",
    "fingerprint",
    "identity",
)

LEGACY_DEFAULTS: dict[str, Any] = {"noise_top": 0.0, "exact_target": 0, "weights": "last"}
"""Values of training options for runs from before these options existed, so that resuming changes nothing."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A registered component and its options, as a run folder records them.

    Arguments:
        name: Registered name, or the SPEC of a data set.
        options: Values of all options.
    """

    name: str
    options: dict[str, Any]

    def build(self, kind: str, *args: Any) -> Any:
        """Build the component. `args` are passed before the options."""
        return build(kind, self.name, *args, **self.options)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Component:
        """Read JSON fields (lists become tuples)."""
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in fields["options"].items()}
        return cls(name=fields["name"], options=options)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a run.

    Arguments:
        data: SPEC of the data set and its options.
        sde: Process.
        network: Network.
        prediction: A key of `PREDICTIONS`: the quantity that the network predicts.
        condition: Condition of the network: "none", "label", "numbers", "embedding" or "sequence".
        train: Options of the training.
        shape: Shape of one item.
        kind: Kind of the items: "vector", "sequence", "image" or "volume".
        items: Number of items in the data set.
        classes: Number of labels in the data set, 0 for none.
        class_names: Names of the labels, or empty.
        units: Units of the data.
        data_std: Standard deviation of the data in the model's units.
        condition_names: Names of the numbers that condition the network, or empty.
        condition_units: Units of the numbers or embeddings that condition the network.
        objective: Registered name of the training objective.
        condition_shape: Shape (d,) of an embedding, or (L, d) of a sequence of embeddings.
        channel_names: Name of each channel of sequences, or empty.
        sample_rate: Number of values of a sequence per second, or None if it is not known.
        notes: Sentences about how the data were read, see `Dataset`. They do not affect the training, and comparisons
            ignore them.
        untrained: Labels of classes without training items, which are never requested from the model.
        fingerprint: Numbers by which the data are recognised, see `sdekit.runs.fingerprint`. Empty for runs of earlier
            versions.
        columns: Columns of a table, or empty.
        identity: Checksum of this recipe at the start of the training. All files of weights record it. Empty before the
            training starts, and for runs of earlier versions.
        own_network: Network of the user's own, if `network` has a name such as "python:package.module:Name". The run
            folder does not contain it.
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
    channel_names: tuple[str, ...] = ()
    sample_rate: float | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)
    untrained: tuple[int, ...] = ()
    fingerprint: tuple[float | None, ...] = field(default=(), compare=False)
    columns: tuple[Column, ...] = ()
    identity: str = field(default="", compare=False)
    own_network: OwnNetwork | None = field(default=None, compare=False, repr=False)

    def __repr__(self) -> str:
        """Return one line: the names of the components, the prediction, the condition and the length."""
        length = [f"{self.train.steps} steps"] if self.train.steps else []
        length += [f"{self.train.time_limit:g} s"] if self.train.time_limit else []
        parts = [self.data.name, self.sde.name, self.network.name, repr(self.prediction)]
        parts += [f"condition {self.condition}"] if self.condition != "none" else []
        return f"Recipe({', '.join([*parts, *length])})"

    def build(self) -> ScoreModel:
        """Build the model with new weights, drawn with the seed of the run.

        Raises:
            InputError: If the network is one of the user's own, and the recipe was read from a run folder.
        """
        with torch.random.fork_rng():
            torch.manual_seed(self.train.seed)
            classes = self.classes if self.condition == "label" else 0
            if self.own_network is not None:
                network = self.own_network.build(self.shape, classes, self.network.options, self.examples(2))
            else:
                check_saved_network(self.network.name)
                network = self.network.build("network", self.shape, classes)
        return ScoreModel(
            network, self.sde.build("sde"), self.prediction, data_std=self.data_std, condition=self.conditioning
        )

    @property
    def conditioning(self) -> Conditioning:
        """Condition that the network takes, and whether it was also trained without one."""
        null = self.condition == "none" or self.train.drop > 0
        if self.condition == "label":
            names, untrained = self.class_names, self.untrained
            return Conditioning(classes=self.classes, class_names=names, untrained=untrained, null=null)
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

    def check_same(self, other: Recipe) -> None:
        """Check that this run can be resumed with another recipe.

        Arguments:
            other: Recipe that may differ in the length of training, and in the path and `skip_bad` of the data only.
        Raises:
            InputError: If another field differs; the message names it.
        """
        skip = {k: v for k, v in self.data.options.items() if k == "skip_bad"}
        moved = self.data.name.partition(":")[0] == other.data.name.partition(":")[0]
        name = self.data.name if moved else other.data.name
        same = replace(
            other,
            train=replace(other.train, steps=self.train.steps, time_limit=self.train.time_limit),
            data=replace(other.data, name=name, options=other.data.options | skip),
            notes=self.notes,
        )
        if same != self:
            names = [n for n in vars(self) if getattr(self, n) != getattr(same, n)]
            raise InputError(
                f"cannot resume: these options differ from those of the run: {', '.join(names)}. Leave them out, or "
                "train into another --out"
            )

    @property
    def digest(self) -> str:
        """Checksum of the fields on which the meaning of the weights depends.

        Files of weights record it, so that weights of another run are detected.
        """
        units: list[tuple[object, ...]] = [
            (u.shift, u.scale, u.layout, *([u.quantiles] if u.quantiles else []))  # older runs have no quantiles
            for u in (self.units, self.condition_units)
            if u is not None
        ]
        known = self.conditioning
        condition: tuple[object, ...] = (self.condition, self.condition_names, known.classes, known.null)
        condition += (self.condition_shape,) if self.condition_shape else ()  # older runs have no such field
        parts = (vars(self.sde), vars(self.network), self.prediction, self.shape, self.data_std, units, condition)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def identified(self) -> Recipe:
        """Return the recipe of a new run, with its `identity`."""
        anonymous = replace(self, identity="")
        fields = {k: v for k, v in anonymous.as_dict().items() if k not in ("format", "versions", "plugins")}
        return replace(self, identity=hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest())

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready fields: the recipe, its format, and the versions of packages."""
        packages = ("torch", "torchdiffeq", "numpy", "scipy", "safetensors")
        return {
            "format": FORMAT,
            "versions": {"sdekit": __version__, "python": platform.python_version()}
            | {p: version(p) for p in packages},
            "plugins": plugin_files(),
            **{name: vars(getattr(self, name)) for name in ("data", "sde", "network", "train", "units")},
            "condition_units": None if self.condition_units is None else vars(self.condition_units),
            "columns": [column.as_dict() for column in self.columns],
            **{name: getattr(self, name) for name in PLAIN},
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Recipe:
        """Read the fields of `as_dict`."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k in PLAIN}
        return cls(
            data=Component.from_dict(fields["data"]),
            sde=Component.from_dict(fields["sde"]),
            network=Component.from_dict(fields["network"]),
            train=TrainOptions(
                **LEGACY_DEFAULTS | {k: v for k, v in fields["train"].items() if k not in REMOVED_OPTIONS}
            ),
            units=Units.from_dict(fields["units"]),
            condition_units=Units.from_dict(units) if (units := fields.get("condition_units")) else None,
            columns=tuple(Column.from_dict(column) for column in fields.get("columns") or ()),
            **plain,
        )


def check_saved_network(name: str) -> None:
    """Raise InputError for a network of the user's own, which a run folder does not contain.

    Arguments:
        name: Name of a network in a recipe.
    """
    if is_python_object(name):
        module, _, definition = name.partition(":")[2].partition(":")
        raise InputError(
            f"the network of this run is {definition} of the Python module {module}, which is not part of sdekit, and "
            "a run folder contains no code: in Python, pass it, sdekit.load_run(path, network=...); on the command "
            "line, --trust imports it. A network in a plugin needs neither, see sdekit plugins new --kind network"
        )
