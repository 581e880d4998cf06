"""Classifiers are trained, saved and resumed as runs are, and those of version 0.1 still open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from sdekit.data import Dataset
from sdekit.errors import InputError
from sdekit.runs import CHECKPOINT, CONFIG, MODEL, Recipe, load_json, load_run, load_tensors, save_json, save_tensors
from sdekit.training import Trainer, classifier_recipe, load_classifier, plan, read_classifier, train

NETWORK = {"width": 8, "depth": 1, "dropout": 0.2}
TRAIN = {"steps": 52, "batch_size": 8, "checkpoint_every": 20, "log_every": 10}
Go = Callable[..., Trainer]


def planned(**options: Any) -> tuple[Recipe, Dataset]:
    run, data = plan("moons", options={"data": {"n": 200}, "train": {"steps": 1}})
    return classifier_recipe(run, data, train=TRAIN | options, network=NETWORK), data


def test_resumed_is_the_same(tmp_path: Path, go: Go, same_run: Callable[[Path, Path], None]) -> None:
    """A training that is stopped and resumed ends with the same bits; an unfinished classifier guides already."""
    recipe, data = planned()
    go(Trainer(recipe, data, tmp_path / "whole"))
    go(Trainer(recipe, data, tmp_path / "parts"), 27)
    assert (tmp_path / "parts" / CHECKPOINT).exists() and read_classifier(tmp_path / "parts") == recipe
    assert load_classifier(tmp_path / "parts")(torch.zeros(1, 2), 0.5).shape == (1, 2)
    second = Trainer(recipe, data, tmp_path / "parts", resume=True)
    assert second.step == 27 and not second.finished
    assert go(second).finished
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_killed_while_training(tmp_path: Path, same_run: Callable[[Path, Path], None]) -> None:
    """The training continues from its last checkpoint, to the same end."""
    recipe, data = planned()
    train(recipe, data, tmp_path / "whole")
    for now in Trainer(recipe, data, tmp_path / "parts").run():
        if now.step == 33:
            break
    assert load_tensors(tmp_path / "parts" / MODEL)[1]["step"] == 20
    train(recipe, data, tmp_path / "parts", resume=True)
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_evaluation_changes_nothing(tmp_path: Path) -> None:
    """A training that is saved and evaluated on the way ends with the same weights."""
    for name, every in (("often", 3), ("rarely", 100)):
        train(*planned(checkpoint_every=every), tmp_path / name)
    often, rarely = (load_tensors(tmp_path / name / MODEL)[0] for name in ("often", "rarely"))
    assert all(torch.equal(often[name], rarely[name]) for name in rarely)


def test_labels_are_counted_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prior is the frequency of the labels in the training set, from data that know their labels."""
    recipe, data = planned()
    monkeypatch.setattr(type(data), "batch", None)
    trainer = Trainer(recipe, data, tmp_path / "run")
    labels = data.labels_of(trainer.indices)
    assert labels is not None
    torch.testing.assert_close(trainer.model.log_prior, (torch.bincount(labels) / len(labels)).log())


def test_callers_generator_goes_on(tmp_path: Path) -> None:
    """Dropout draws from the global generator, and leaves it as it was."""
    trainer = Trainer(*planned(), tmp_path / "run")
    before = torch.get_rng_state()
    next(trainer.run())
    assert torch.equal(torch.get_rng_state(), before)


def test_version_01(tmp_path: Path) -> None:
    """A folder in the format of version 0.1 opens as the same function, but is not trained further."""
    recipe, data = planned()
    trainer = train(recipe, data, tmp_path / "new")
    old = {
        "kind": "classifier",
        "format": 1,
        "versions": {"sdekit": "0.1.0"},
        **{name: asdict(getattr(recipe, name)) for name in ("data", "sde")},
        "network": recipe.network.options,
        "shape": [2],
        "classes": 2,
        "class_names": ["upper", "lower"],
        "data_std": recipe.data_std,
        "train": {"steps": 52, "batch_size": 8, "learning_rate": 2e-3, "weight_decay": 0.05, "noise_mean": -0.5,
                  "noise_std": 1.5, "held_out": 0.05, "seed": 0},
        "accuracy": {},
    }  # fmt: skip
    save_json(tmp_path / "old" / CONFIG, old)
    save_tensors(tmp_path / "old" / MODEL, trainer.model.state_dict(), {"step": 52})
    x, t = torch.randn(5, 2), torch.full((5,), 0.3)
    one, other = (load_classifier(tmp_path / name)(x, t) for name in ("new", "old"))
    assert torch.equal(one, other)
    assert read_classifier(tmp_path / "old").class_names == ("upper", "lower")
    with pytest.raises(InputError, match=r"written by sdekit 0.1, whose classifiers cannot be trained further"):
        read_classifier(tmp_path / "old", resume=True)
    for name in ("old", "new"):
        with pytest.raises(InputError, match="is a classifier, not a run: use it as  --guidance classifier:run="):
            load_run(tmp_path / name)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    """Weights of another network, and a checkpoint of one, are refused."""
    recipe, data = planned()
    train(recipe, data, tmp_path / "run")
    fields = load_json(tmp_path / "run" / CONFIG)
    fields["network"]["options"]["width"] = 12
    save_json(tmp_path / "run" / CONFIG, fields)
    with pytest.raises(InputError, match="does not fit"):
        load_classifier(tmp_path / "run")
    with pytest.raises(InputError, match="does not fit"):
        Trainer(read_classifier(tmp_path / "run"), data, tmp_path / "run", resume=True)


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match=r"seed must be between 0 and 2\^32 - 1"):
        planned(seed=2**32)
    run, data = plan("digits", options={"train": {"steps": 1}})
    with pytest.raises(InputError, match="train-classifier: batch_size 99999999999999 of items of 64 numbers"):
        classifier_recipe(run, data, train={"batch_size": 99999999999999}, network=NETWORK)
