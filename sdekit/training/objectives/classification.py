"""Training of a noise-aware classifier, for classifier guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.arguments import check_device, check_path
from sdekit.data import Batch, Dataset, Units, split, with_classes
from sdekit.errors import InputError
from sdekit.models import Classifier
from sdekit.networks import Encoder
from sdekit.processes import as_time
from sdekit.runs import (
    CONFIG,
    MODEL,
    SMALL,
    ClassifierRecord,
    Component,
    Recipe,
    TrainOptions,
    build_bounded,
    build_recorded,
    check_batch,
    check_format,
    fingerprint,
    load_json,
    load_tensors,
    load_tied,
    read_recipe,
    read_record,
    train_options,
)
from sdekit.training.noise_levels import draw
from sdekit.training.objective import Inputs, Objective
from sdekit.training.planning import describe_missing_labels, untrained_labels
from sdekit.training.step_seeds import seed_from

NAME = "classification"
NETWORK = "classifier-encoder"
NOISE_LEVELS = (0.1, 0.5, 1.0, 2.0, 5.0)  # noise levels rho at which the accuracy is reported
HELD_OUT_MOST = 2048  # largest number of held-out items in the evaluation
CLASSIFIER_DEFAULTS: dict[str, Any] = {
    "steps": 1000,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "warm_up": 0,
    "weight_decay": 0.05,
    "ema": 0.0,
    "noise_mean": -0.5,
    "noise_std": 1.5,
    "exact_target": 0,
    "checkpoint_every": 250,
}
"""Training options that differ from the defaults of `TrainOptions`."""


class Classification(Objective):
    """Classification: the cross entropy of the labels of noisy items, at random noise levels.

    Arguments:
        recipe: Recipe of `classifier_recipe`.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.options, self.sde = recipe.train, recipe.sde.build("sde")

    @staticmethod
    def trial(run: Recipe, data: Dataset) -> Recipe:
        """Return a recipe to check the objective with, for the data of a run."""
        return classifier_recipe(run, data, train={"steps": 1, "batch_size": run.train.batch_size})

    def build(self) -> Classifier:
        """Build the classifier with fresh weights."""
        recipe = self.recipe
        with torch.random.fork_rng():
            torch.manual_seed(recipe.train.seed)
            encoder = Encoder(recipe.shape, recipe.classes, **recipe.network.options)
        return Classifier(encoder, self.sde, torch.ones(recipe.classes), data_std=recipe.data_std)

    def start(self, module: nn.Module, data: Dataset, indices: np.ndarray) -> None:
        """Set the classifier's prior probabilities to the frequencies of the labels."""
        counts = torch.bincount(_labels(data.labels_of(indices)), minlength=self.recipe.classes)
        cast(Classifier, module).set_frequencies(counts / len(indices))

    def inputs(self, batch: Batch, step: int, rows: slice) -> Inputs:
        """Return x_t, t and the labels."""
        t, eps = draw(self.sde, self.options, self.recipe.shape, step, rows)
        return self.sde.perturb(batch.x, t, eps), t, _labels(batch.y)

    def loss(self, module: nn.Module, inputs: Inputs) -> Tensor:
        """Compute the cross entropy of each item, in nats."""
        x, t, y = inputs
        assert x is not None and t is not None and y is not None
        device = next(module.parameters()).device
        return F.cross_entropy(module(x.to(device), t), y.to(device), reduction="none")

    @torch.no_grad()
    def evaluate(self, module: nn.Module, data: Dataset, indices: np.ndarray) -> dict[str, Any]:
        """Return the accuracy on held-out items by noise level; empty if no item is held out."""
        if not len(indices):
            return {"accuracy": {}}
        batch = data.batch(indices[:HELD_OUT_MOST])
        eps = torch.randn(batch.x.shape, generator=torch.Generator().manual_seed(seed_from(self.options.seed, 3)))
        device, accuracy = next(module.parameters()).device, {}
        for rho in NOISE_LEVELS:
            t = self.sde.time(as_time(rho)).expand(len(eps))
            predicted = module(self.sde.perturb(batch.x, t, eps).to(device), t).argmax(1).cpu()
            accuracy[f"{rho:g}"] = round(float((predicted == _labels(batch.y)).float().mean()), 4)
        return {"accuracy": accuracy}

    def describe(self, step: int, index: int) -> str:
        """Describe the noise level of an item."""
        t = draw(self.sde, self.options, self.recipe.shape, step).t[index]
        return f"at noise level sigma/alpha = {float(self.sde.rho(t)):.4g}"


def classifier_recipe(
    run: Recipe,
    data: Dataset,
    *,
    source: Component | None = None,
    train: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
) -> Recipe:
    """Plan the training of a classifier that guides a run.

    Arguments:
        run: Recipe of the run. The classifier has the same process, units and shape. It also numbers the classes in
            the same way, if the run has all classes of the data.
        data: Labelled data in the units of the run.
        source: Where the data come from, if not from the data of the run.
        train: Training options; `CLASSIFIER_DEFAULTS` contains the values of the others.
        network: Options of the `Encoder`.
    Returns:
        A recipe with the objective "classification".
    Raises:
        InputError: If the data have no labels, or another shape or other units than the run.
    """
    source = source or run.data
    if data.classes < 2:
        reason = describe_missing_labels(data)
        raise InputError(f"data {source.name!r} have no labels to learn{reason}: name labelled data with --data")
    if tuple(data.shape) != run.shape or data.units != run.units:
        raise InputError(
            f"the data are not in the run's units: shape {tuple(data.shape)} and the run's {run.shape}, or another "
            "scale"
        )
    options = train_options(CLASSIFIER_DEFAULTS | dict(train or {}))
    check_batch(options.batch_size, run.shape, "train-classifier")
    split(len(data), options.held_out)
    data = with_classes(data, run.classes, run.class_names) if run.classes else data
    untrained = untrained_labels(data, options)
    if data.classes - len(untrained) < 2:
        raise InputError(f"data {source.name!r}: only one class has training items; expected at least 2 classes")
    encoder = Encoder(run.shape, data.classes, **(network or {}))
    return replace(
        run,
        objective=NAME,
        fingerprint=fingerprint(data),
        data=source,
        network=Component(name=NETWORK, options=encoder.options),
        condition="none",
        condition_names=(),
        condition_units=None,
        train=options,
        items=len(data),
        classes=data.classes,
        class_names=tuple(data.class_names),
        untrained=untrained,
    )


def is_classifier(path: Path) -> bool:
    """Return whether a folder contains a classifier.

    Arguments:
        path: Folder of `sdekit train-classifier`, or any other path.
    Returns:
        True if its config.json describes a classifier.
    """
    if not (path / CONFIG).is_file():
        return False
    fields = load_json(path / CONFIG)
    return fields.get("kind") == "classifier" or fields.get("objective") == NAME


def read_classifier(path: Path, *, resume: bool = False) -> Recipe:
    """Read the recipe of a classifier.

    Arguments:
        path: Folder of `sdekit train-classifier`, which may be of version 0.1.
        resume: Whether its training is to be continued.
    Returns:
        Its recipe, with the objective "classification".
    Raises:
        InputError: If the folder is missing, damaged or altered, if it contains no classifier, or if `resume` is set
            for a classifier of version 0.1.
    """
    if not (path / CONFIG).is_file():
        raise InputError(f"{path} is no folder of sdekit train-classifier: {CONFIG} is missing")
    if not is_classifier(path):
        raise InputError(f"{path} is not a classifier: train one with  sdekit train-classifier RUN --out FOLDER")
    fields = load_json(path / CONFIG)
    check_format(fields, path / CONFIG)
    if fields.get("kind") != "classifier":
        return read_recipe(path, with_data=resume, objective=NAME)
    if resume:
        raise InputError(
            f"{path} was written by sdekit 0.1, whose classifiers cannot be trained further: use it as it is, or train "
            "again into another --out"
        )
    read_record(ClassifierRecord, fields, path / CONFIG, "a classifier")
    try:
        return _recipe_of_version_01(fields)
    except InputError as error:
        raise InputError(f"{path / CONFIG} does not describe a classifier ({error})") from error


def load_classifier(path: str | Path, *, device: torch.device | str = "cpu") -> Classifier:
    """Open a classifier for guidance. No code from the folder is executed.

    Arguments:
        path: Folder of `sdekit train-classifier`, which may be of version 0.1.
        device: Device of the weights.
    Returns:
        The classifier in evaluation mode, without gradients for its weights.
    Raises:
        InputError: If the folder is missing, damaged or altered, or contains no classifier.
    """
    path = Path(check_path("load_classifier", path))
    recipe, device = read_classifier(path), check_device("load_classifier", device)
    if not (path / MODEL).exists():
        raise InputError(f"{path / MODEL} is missing: train the classifier as far as its first checkpoint, by --resume")
    weights, _ = load_tensors(path / MODEL)
    most = 2 * sum(tensor.numel() for tensor in weights.values()) + SMALL
    build = lambda: build_bounded(Classification(recipe).build, most)  # noqa: E731
    model = build_recorded(path / CONFIG, "network", build)
    try:
        load_tied(model, weights)
    except RuntimeError as error:
        raise InputError(f"{path / MODEL} does not fit {CONFIG}: {error}") from error
    return model.to(device).eval().requires_grad_(False)


def _recipe_of_version_01(fields: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a classifier of sdekit 0.1. Its config.json lacks the units and the number of items."""
    return Recipe(
        objective=NAME,
        data=Component.from_dict(fields["data"]),
        sde=Component.from_dict(fields["sde"]),
        network=Component(name=NETWORK, options=fields["network"]),
        prediction="edm",
        condition="none",
        train=TrainOptions(**CLASSIFIER_DEFAULTS | fields["train"]),
        shape=tuple(fields["shape"]),
        kind="image" if len(fields["shape"]) == 3 else "vector",
        items=0,
        classes=fields["classes"],
        class_names=tuple(fields["class_names"]),
        units=Units(),
        data_std=fields["data_std"],
    )


def _labels(y: Tensor | None) -> Tensor:
    assert y is not None
    return y
