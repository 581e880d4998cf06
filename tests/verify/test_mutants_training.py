"""Planted faults of loaders and objectives fail the check of the violated law."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sdekit import verify
from sdekit.errors import InputError
from sdekit.models import OpenedModel, ScoreModel
from sdekit.networks import MLP
from sdekit.processes import VP
from sdekit.training.objectives.denoising import Denoising
from sdekit.verify.component_checks import loader_checks as loaders

from .findings import failed, failure


def tensors(path: str) -> dict[str, Tensor]:
    """A correct function that reads tensors only."""
    try:
        return dict(torch.load(path, weights_only=True))
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not a model ({type(error).__name__})") from error


def opened(path: str, read: Callable[[str], dict[str, Tensor]] = tensors) -> ScoreModel:
    """A correct loader of an MLP on two numbers."""
    network, weights = MLP((2,), 0, width=8), read(path)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path}: other tensors") from error
    return ScoreModel(network, VP(), "edm").eval()


def runs_code(path: str) -> dict[str, Tensor]:
    """Unpickles any object."""
    try:
        return dict(torch.load(path, weights_only=False))
    except Exception as error:
        raise InputError(f"{path}: not a model") from error


def forgets_some(path: str) -> ScoreModel:
    """A layer keeps its random initial weights."""
    network, weights = MLP((2,), 0, width=8), tensors(path)
    weights.popitem()
    network.load_state_dict(weights, strict=False)
    return ScoreModel(network, VP(), "edm").eval()


def by_batch(path: str) -> ScoreModel:
    """Centred over the batch."""
    model = opened(path)
    model.forward = lambda x, t, y=None: x - x.mean(0)  # type: ignore[method-assign]
    return model


def drops(path: str) -> ScoreModel:
    """Dropout stays on."""
    model = opened(path)
    inner = model.forward
    model.forward = lambda x, t, y=None: nn.functional.dropout(inner(x, t, y))  # type: ignore[method-assign]
    return model


def partly_training(path: str) -> ScoreModel:
    """One layer stays in training mode."""
    model = opened(path)
    model.network.blocks[0].train()  # type: ignore[index,union-attr]
    return model


MODELS: dict[str, ScoreModel] = {}


def shared(path: str) -> ScoreModel:
    """The same model for each call."""
    return MODELS[path] if path in MODELS else MODELS.setdefault(path, opened(path))


def truncated(path: str) -> ScoreModel:
    """Fills a damaged file with the initial weights."""
    try:
        return opened(path)
    except InputError:
        if Path(path).is_file() and Path(path).stat().st_size > 4000:
            return ScoreModel(MLP((2,), 0, width=8), VP(), "edm").eval()
        raise


def runs_old_files(path: str) -> ScoreModel:
    """Unpickles .ckpt files."""
    return opened(path, runs_code if path.endswith(".ckpt") else tensors)


def writes(path: str) -> ScoreModel:
    """Writes a file next to the model."""
    model = opened(path)
    Path(path).with_suffix(".cache").write_text("cache")
    return model


def ignores_others(path: str) -> ScoreModel:
    """Ignores tensors that it does not know."""
    network = MLP((2,), 0, width=8)
    network.load_state_dict(tensors(path), strict=False)
    return ScoreModel(network, VP(), "edm").eval()


LOADERS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "a traceback": (lambda path: torch.load(path, weights_only=True), "missing path", "of another library"),
    "anything goes": (lambda path: ScoreModel(MLP((2,), 0), VP()), "missing path", "is accepted as a model"),
    "does not say where": (lambda path: opened(path, nameless), "damaged", "does not name the file"),
    "runs code": (lambda path: opened(path, runs_code), "no execution", "runs code when it is opened"),
    "a bare network": (lambda path: opened(path).network, "opens", "return a ScoreModel"),
    "in training mode": (lambda path: opened(path).train(), "opens", "call .eval()"),
    "forgets some": (forgets_some, "opened again", "some weights are random, not read from the file"),
    "partly training": (partly_training, "opens", "a part of it, is in training mode"),
    "shared": (shared, "opened again", "share their weights"),
    "truncated": (truncated, "truncated", "a truncated model is accepted"),
    "runs old files": (runs_old_files, "no execution", "a .ckpt runs code"),
    "writes": (writes, "files", "writes files"),
    "ignores others": (ignores_others, "damaged", "a file with other tensors is accepted"),
    "kind": (
        lambda path: OpenedModel(model=opened(path), shape=(2,), kind="image"),
        "facts",
        "this is the shape of a vector",
    ),
    "by batch": (by_batch, "batch", "depends on its batch"),
    "drops": (drops, "deterministic", "draws random numbers or has a state"),
}


def nameless(path: str) -> dict[str, Tensor]:
    """Raises an error without the file name."""
    try:
        return tensors(path)
    except InputError:
        raise InputError("not a model") from None


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights that `opened` opens."""
    path: Path = tmp_path_factory.mktemp("saved") / "model.pt"
    network = MLP((2,), 0, width=8)
    for weight in network.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.mark.parametrize("name", LOADERS)
def test_faulty_loaders(name: str, saved: str) -> None:
    """Each fault of a loader fails the check of the law that it violates."""
    load, check, words = LOADERS[name]
    assert words in failed(loaders.checks(load, path=saved), check).cause


def test_sound_loaders(saved: str) -> None:
    """A correct loader passes all checks with a model; without one the checks of the model are skipped."""
    report = verify.run_checks("opened", "loader", loaders.checks(opened, path=saved))
    report.raise_on_failure()
    assert [result.name for result in report.skipped] == ["condition", "facts"]
    report = verify.verify(opened, kind="loader")
    report.raise_on_failure()
    assert [str(result.measured) for result in report.skipped] == ["needs a model to open: verify NAME:PATH"]


class LeaksHeldOut(Denoising):
    """Reads held-out items at the start."""

    def start(self, module: nn.Module, data: Any, indices: Any) -> None:
        super().start(module, data, np.arange(len(data)))


class MeanOfMeans(Denoising):
    """Averages the means of batches of unequal size."""

    def evaluate(self, module: nn.Module, data: Any, indices: Any) -> dict[str, Any]:
        size = self.recipe.train.batch_size
        parts = [
            super(MeanOfMeans, self).evaluate(module, data, indices[i : i + size]) for i in range(0, len(indices), size)
        ]
        return {"held_out_loss": sum(part["held_out_loss"] for part in parts) / len(parts) if parts else None}


class ConsumesNoise(Denoising):
    """The preview draws from the global generator."""

    def preview(self, module: nn.Module) -> bytes | None:
        torch.rand(1)
        return None


class StaysInTraining(Denoising):
    """The evaluation leaves the module in training mode."""

    def evaluate(self, module: nn.Module, data: Any, indices: Any) -> dict[str, Any]:
        result = super().evaluate(module, data, indices)
        module.train()
        return result


class OneSeed(Denoising):
    """Draws the same noise for every seed of the run."""

    def __init__(self, recipe: Any) -> None:
        super().__init__(recipe)
        self.options = replace(self.options, seed=7)


class Freezes(Denoising):
    """One layer is not trained."""

    def loss(self, module: nn.Module, inputs: Any) -> Tensor:
        next(module.parameters()).requires_grad_(False)
        return super().loss(module, inputs)


OBJECTIVES: dict[str, tuple[type[Denoising], str, str]] = {
    "LeaksHeldOut": (LeaksHeldOut, "held out", "held-out items become part of the training"),
    "MeanOfMeans": (MeanOfMeans, "batch size", "depends on the batch size"),
    "ConsumesNoise": (ConsumesNoise, "side effects", "preview() changes torch's global generator"),
    "StaysInTraining": (StaysInTraining, "side effects", "evaluate() changes the mode of the module"),
    "OneSeed": (OneSeed, "steps", "seed_from(recipe.train.seed"),
    "Freezes": (Freezes, "gradient", "a saved weight has no gradient"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_faulty_objectives(name: str) -> None:
    """Each fault of an objective fails the check of the law that it violates."""
    objective, check, words = OBJECTIVES[name]
    assert words in failure(objective, check, kind="objective").cause
