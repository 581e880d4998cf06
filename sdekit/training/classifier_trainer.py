"""Training of a noise-aware classifier, and its folder: config.json, model.safetensors, metrics.jsonl."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sdekit import __version__
from sdekit.data import Dataset, batch_indices, split
from sdekit.errors import InputError, SdekitError
from sdekit.models import Classifier
from sdekit.networks import Encoder
from sdekit.processes import as_time
from sdekit.runs import (
    CHECKPOINT,
    CONFIG,
    FORMAT,
    METRICS,
    MODEL,
    Component,
    Recipe,
    TrainOptions,
    check_batch,
    check_format,
    check_seed,
    load_json,
    load_tensors,
    model_step,
    read_metrics,
    save_json,
    save_tensors,
    write_atomically,
)

from .noise_levels import draw
from .randomness import seed_from, seeded

KIND = "classifier"
LEVELS = (0.1, 0.5, 1.0, 2.0, 5.0)  # noise levels rho at which the accuracy is told


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """What a classifier is trained with.

    steps: optimizer steps. batch_size: items a step. learning_rate: at its peak, of AdamW, decaying to 0 as a cosine.
    weight_decay: of AdamW. noise_mean, noise_std: of the log of rho = sigma / alpha. held_out: fraction of the data
    that is not trained on. seed: of everything random.
    """

    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    noise_mean: float = -0.5
    noise_std: float = 1.5
    held_out: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 1 if field.name in ("steps", "batch_size") else -math.inf if field.name == "noise_mean" else 0
            if not math.isfinite(value) or value < least:
                raise InputError(f"train-classifier: {field.name} must be at least {least}, got {value}")
        check_seed(self.seed, "train-classifier")

    @property
    def noise(self) -> TrainOptions:
        """The same, as what a batch's noise is drawn with."""
        names = ("steps", "batch_size", "noise_mean", "noise_std", "seed")
        return TrainOptions(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Progress:
    """After each step. loss: cross entropy of the batch, in nats."""

    step: int
    loss: float


class ClassifierTrainer:
    """Trains a classifier for the process, data and units of a run; iterate over `run()`, then `save()`.

    recipe: of the run that it is to guide. data: labelled items in the units of the run; source: where they come from,
    if not from the run's data. options: of the training; network: of the `Encoder`. Raises InputError for data without
    labels or in another shape or units.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        options: ClassifierOptions | None = None,
        *,
        source: Component | None = None,
        network: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.source = source or recipe.data
        if data.classes < 2:
            raise InputError(f"data {self.source.name!r} have no labels to learn: name labelled data with --data")
        if tuple(data.shape) != recipe.shape or data.units != recipe.units:
            raise InputError(
                f"the data are not in the run's units: shape {tuple(data.shape)} and the run's {recipe.shape}, or "
                "another scale"
            )
        self.recipe, self.data, self.options = recipe, data, options or ClassifierOptions()
        check_batch(self.options.batch_size, recipe.shape, "train-classifier")
        self.device = torch.device(device)
        self.indices, self.held_out = split(len(data), self.options.held_out)
        labels = _long(data.labels_of(self.indices))
        frequencies = torch.bincount(labels, minlength=data.classes) / len(labels)
        with torch.random.fork_rng():
            torch.manual_seed(self.options.seed)
            encoder = Encoder(recipe.shape, data.classes, **(network or {}))
        self.model = Classifier(encoder, recipe.sde.build("sde"), frequencies, data_std=recipe.data_std).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=self.options.learning_rate,
            weight_decay=self.options.weight_decay,
            betas=(0.9, 0.99),
        )
        self.step, self.rows = 0, list[dict[str, Any]]()
        self._stopped, self._losses = False, list[float]()  # since the last row

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.options.steps

    def stop(self) -> None:
        """End `run()` after the step under way."""
        self._stopped = True

    def run(self) -> Iterator[Progress]:
        """All steps that are left, unless `stop()` ends it; a pure function of the options and the data."""
        options, model = self.options, self.model.train()
        while not (self._stopped or self.finished):
            step = self.step
            rows = batch_indices(len(self.indices), options.batch_size, step, options.seed)
            batch = self.data.batch(self.indices[rows])
            t, eps = draw(model.sde, options.noise, self.recipe.shape, step)
            with seeded(seed_from(options.seed, 2, step), self.device):  # dropout
                loss = F.cross_entropy(self._logits(batch.x, t, eps), _long(batch.y).to(self.device))
            if not loss.isfinite():
                raise SdekitError(f"the loss is {loss.item()} at step {step + 1}: try a lower learning_rate")
            for group in self.optimizer.param_groups:
                group["lr"] = options.learning_rate * math.cos(math.pi / 2 * step / options.steps) ** 2
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.step += 1
            self._losses.append(loss.item())
            if self.step % 50 == 0:
                self.rows.append({"step": self.step, "loss": sum(self._losses) / 50})
                self._losses = []
            yield Progress(self.step, loss.item())

    @torch.no_grad()
    def accuracy(self) -> dict[str, float]:
        """Of held-out items, by noise level rho; empty where nothing is held out."""
        if not len(self.held_out):
            return {}
        batch = self.data.batch(self.held_out[:2048])
        eps = torch.randn(batch.x.shape, generator=torch.Generator().manual_seed(seed_from(self.options.seed, 3)))
        found, training = {}, self.model.training
        self.model.eval()
        try:
            for rho in LEVELS:
                t = self.model.sde.time(as_time(rho)).expand(len(eps))
                right = self._logits(batch.x, t, eps).argmax(1).cpu() == _long(batch.y)
                found[f"{rho:g}"] = round(float(right.float().mean()), 4)
        finally:
            self.model.train(training)
        return found

    def save(self, out: Path) -> None:
        """The folder, which must be empty or an earlier state's; before the last step also what resuming it takes.

        Where it is cut short the folder can still be resumed, if it could be before.
        """
        network = self.model.network
        told = {"accuracy": self.accuracy()}
        config = {
            "kind": KIND,
            "format": FORMAT,
            "versions": {"sdekit": __version__, "torch": torch.__version__},
            "data": vars(self.source),
            "sde": vars(self.recipe.sde),
            "network": network.options,
            "shape": list(self.recipe.shape),
            "classes": self.data.classes,
            "class_names": list(self.data.class_names),
            "data_std": self.recipe.data_std,
            "train": asdict(self.options),
            **told,
        }
        save_json(out / CONFIG, config)
        rows = [*self.rows, {"step": self.step, **told}]
        write_atomically(out / METRICS, "".join(json.dumps(row) + "\n" for row in rows).encode())
        weights = self.model.state_dict()
        if not self.finished:
            state = {f"{i}.{k}": v for i, one in self.optimizer.state_dict()["state"].items() for k, v in one.items()}
            state |= {f"weights.{name}": tensor for name, tensor in weights.items()}
            save_tensors(out / CHECKPOINT, state, {"step": self.step, "losses": self._losses})
        save_tensors(out / MODEL, weights, {"step": self.step})
        if self.finished:
            shutil.rmtree((out / CHECKPOINT).parent, ignore_errors=True)

    def resume(self, out: Path) -> None:
        """Go on from a state that `save` left before the last step, with the same data and options, bit for bit."""
        if not (out / CHECKPOINT).exists():
            if model_step(out) is None:
                raise InputError(f"{out} holds no training that was saved: train again, into another folder")
            raise InputError(f"{out} is trained to its last step: there is nothing to resume")
        tensors, fields = load_tensors(out / CHECKPOINT)
        weights, state = dict[str, Tensor](), dict[int, dict[str, Tensor]]()
        try:
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                if part == "weights":
                    weights[rest] = tensor
                else:
                    state.setdefault(int(part), {})[rest] = tensor
            self.model.load_state_dict(weights)
            self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{out / CHECKPOINT} does not fit {CONFIG}: {error}") from error
        self.step, self._losses = int(fields["step"]), fields["losses"]
        self.rows = [row for row in read_metrics(out) if "loss" in row and row["step"] <= self.step]

    def _logits(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        x = self.model.sde.perturb(x0, t, eps).to(self.device)
        logits: Tensor = self.model(x, t)
        return logits


def is_classifier(path: Path) -> bool:
    """Whether a folder says that it holds a classifier."""
    return (path / CONFIG).is_file() and load_json(path / CONFIG).get("kind") == KIND


def read_classifier(path: Path) -> dict[str, Any]:
    """What `save` wrote of a classifier; InputError for a folder that is missing, altered, newer or something else."""
    if not (path / CONFIG).is_file():
        raise InputError(f"{path} is no folder of sdekit train-classifier: {CONFIG} is missing")
    if not is_classifier(path):
        raise InputError(f"{path} holds no classifier: train one with  sdekit train-classifier RUN --out FOLDER")
    config = load_json(path / CONFIG)
    check_format(config, path / CONFIG)
    return config


def load_classifier(path: str | Path, *, device: torch.device | str = "cpu") -> Classifier:
    """A classifier of `ClassifierTrainer.save`, in evaluation mode; nothing of the folder is executed.

    Raises InputError for a folder that is missing, damaged, altered, or holds no classifier.
    """
    path = Path(path)
    config = read_classifier(path)
    weights, _ = load_tensors(path / MODEL)
    sde = Component.from_dict(config["sde"]).build("sde")
    network = Encoder(tuple(config["shape"]), config["classes"], **config["network"])
    model = Classifier(network, sde, torch.ones(config["classes"]), data_std=config["data_std"])
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path / MODEL} does not fit {CONFIG}: {error}") from error
    return model.to(device).eval().requires_grad_(False)


def _long(y: Tensor | None) -> Tensor:
    assert y is not None
    return y
