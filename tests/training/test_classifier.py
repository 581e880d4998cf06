"""A classifier's training stopped and gone on with is the same training, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdekit.errors import InputError
from sdekit.training.checkpoint import load_tensors, save_tensors
from sdekit.training.classifier import ClassifierOptions, ClassifierTrainer, load_classifier, read_classifier
from sdekit.training.plan import plan
from sdekit.training.run import CHECKPOINT, METRICS, MODEL

OPTIONS = ClassifierOptions(steps=52, batch_size=8)
NETWORK = {"width": 8, "depth": 1, "dropout": 0.2}


def trainer() -> ClassifierTrainer:
    recipe, data = plan("moons", given={"data": {"n": 200}, "network": {}, "sde": {}, "train": {"steps": 1}})
    return ClassifierTrainer(recipe, data, OPTIONS, network=NETWORK)


def go(one: ClassifierTrainer, out: Path, until: int = 0) -> None:
    for now in one.run():
        if now.step == until:
            one.stop()
    one.save(out)


def test_resumed_is_the_same(tmp_path: Path) -> None:
    """Weights and metrics; an unfinished one guides already, a finished one keeps no checkpoint."""
    go(trainer(), tmp_path / "whole")
    go(trainer(), tmp_path / "parts", until=27)
    assert (tmp_path / "parts" / CHECKPOINT).exists() and read_classifier(tmp_path / "parts")["train"]["steps"] == 52
    assert load_classifier(tmp_path / "parts")(torch.zeros(1, 2), 0.5).shape == (1, 2)
    second = trainer()
    second.resume(tmp_path / "parts")
    assert second.step == 27 and not second.finished
    go(second, tmp_path / "parts")
    assert second.finished and not (tmp_path / "parts" / CHECKPOINT).parent.exists()
    assert (tmp_path / "parts" / METRICS).read_bytes() == (tmp_path / "whole" / METRICS).read_bytes()
    (parts, _), (whole, _) = (load_tensors(tmp_path / name / MODEL) for name in ("parts", "whole"))
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    with pytest.raises(InputError, match="trained to its last step"):
        trainer().resume(tmp_path / "parts")


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    go(trainer(), tmp_path, until=2)
    tensors, fields = load_tensors(tmp_path / CHECKPOINT)
    save_tensors(tmp_path / CHECKPOINT, tensors, fields | {"step": 1})
    with pytest.raises(InputError, match="checkpoint is of step 1, the weights of 2"):
        trainer().resume(tmp_path)
    recipe, data = plan("moons", given={"data": {"n": 200}, "network": {}, "sde": {}, "train": {"steps": 1}})
    with pytest.raises(InputError, match="does not fit"):
        ClassifierTrainer(recipe, data, OPTIONS, network=NETWORK | {"width": 12}).resume(tmp_path)
