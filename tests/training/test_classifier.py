"""A classifier's training stopped and gone on with is the same training, to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from sdekit.errors import InputError
from sdekit.runs import CHECKPOINT, CONFIG, METRICS, MODEL, load_tensors
from sdekit.training import (
    ClassifierOptions,
    ClassifierTrainer,
    classifier_trainer as classifier,
    load_classifier,
    plan,
    read_classifier,
)

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


@pytest.mark.parametrize("stop", [40, 0], ids=["stopped", "finished"])
@pytest.mark.parametrize("at", [CONFIG, METRICS, CHECKPOINT, MODEL, "checkpoint"])
def test_killed_while_saving(tmp_path: Path, stop: int, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file a kill comes before, the training goes on from the one saved last, to the same end."""
    go(trainer(), tmp_path / "whole")
    go(trainer(), tmp_path / "parts", until=27)
    second = trainer()
    second.resume(tmp_path / "parts")

    def killed(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(path: Path, *args: Any, **kwargs: Any) -> Any:
            if path == tmp_path / "parts" / at:
                raise KeyboardInterrupt
            return original(path, *args, **kwargs)

        return write

    with monkeypatch.context() as patch:
        for name in ("save_json", "write_atomically", "save_tensors"):
            patch.setattr(classifier, name, killed(getattr(classifier, name)))
        patch.setattr(shutil, "rmtree", killed(shutil.rmtree))
        with suppress(KeyboardInterrupt):
            go(second, tmp_path / "parts", until=stop)
    if (tmp_path / "parts" / CHECKPOINT).exists():
        third = trainer()
        third.resume(tmp_path / "parts")
        go(third, tmp_path / "parts")
    assert (tmp_path / "parts" / METRICS).read_bytes() == (tmp_path / "whole" / METRICS).read_bytes()
    (parts, _), (whole, _) = (load_tensors(tmp_path / name / MODEL) for name in ("parts", "whole"))
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_nothing_was_saved(tmp_path: Path) -> None:
    """A folder whose first save was cut short is not called trained."""
    go(trainer(), tmp_path, until=2)
    shutil.rmtree(tmp_path / "checkpoint")
    (tmp_path / MODEL).unlink()
    with pytest.raises(InputError, match="holds no training that was saved"):
        trainer().resume(tmp_path)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Saved and measured on the way, it trains on with dropout: to the same weights."""
    one, other = trainer(), trainer()
    go(one, tmp_path / "one")
    for now in other.run():
        if now.step in (3, 20):
            other.save(tmp_path / "other")
            assert other.accuracy() and other.model.training
    weights = zip(one.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_labels_are_counted_without_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frequencies of the labels trained on, of data that know their labels."""
    recipe, data = plan("moons", given={"data": {"n": 200}, "train": {"steps": 1}})
    monkeypatch.setattr(type(data), "batch", None)
    made = ClassifierTrainer(recipe, data, OPTIONS, network=NETWORK)
    labels = data.labels_of(made.indices)
    assert labels is not None
    expected = torch.bincount(labels) / len(labels)
    torch.testing.assert_close(made.model.log_prior, expected.log())


def test_callers_generator_goes_on() -> None:
    """Dropout draws from the global generator, and leaves it as it was."""
    made = trainer()
    before = torch.get_rng_state()
    next(made.run())
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_that_would_repeat() -> None:
    with pytest.raises(InputError, match=r"train-classifier: seed must be between 0 and 2\^32 - 1"):
        ClassifierOptions(seed=2**32)


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    go(trainer(), tmp_path, until=2)
    recipe, data = plan("moons", given={"data": {"n": 200}, "network": {}, "sde": {}, "train": {"steps": 1}})
    with pytest.raises(InputError, match="does not fit"):
        ClassifierTrainer(recipe, data, OPTIONS, network=NETWORK | {"width": 12}).resume(tmp_path)


def test_batch_beyond_the_memory() -> None:
    recipe, data = plan("digits", given={"train": {"steps": 1}})
    with pytest.raises(InputError, match="train-classifier: batch_size 99999999999999 of items of 64 numbers"):
        ClassifierTrainer(recipe, data, ClassifierOptions(batch_size=99999999999999), network=NETWORK)
