"""Labels by the names of classes, wherever a user gives one, in records and in pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdekit.data import held_out, with_classes
from sdekit.runs import CONFIG, PREVIEWS, load_json, save_json
from sdekit.training import classifier_recipe, load_data, load_run_data, plan, read_classifier, train

CLI = Callable[..., Any]
QUICK = ("--solver", "ddim", "--steps", 2)
OPTIONS: dict[str, dict[str, Any]] = {
    "network": {"width": 8, "depth": 1},
    "train": {"steps": 2, "batch_size": 8, "drop": 0.1},
}


def write(path: Path, labels: list[Any], shape: tuple[int, ...] = (2,)) -> str:
    """Write an .npz file of random items with these labels, and return its specification."""
    items = np.random.default_rng(0).normal(size=(len(labels), *shape))
    np.savez(path, x=items, y=np.array(labels))
    return f"array:{path}"


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on an array with the labels 1 to 3."""
    folder = tmp_path_factory.mktemp("numbered")
    recipe, data = plan(write(folder / "x.npz", [1, 2, 3] * 8), network="mlp", condition="label", options=OPTIONS)
    train(recipe, data, folder / "run")
    return folder / "run"


def record(out: Path, name: str = "sample.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / name).read_text())
    return found


def test_only_labels_that_occur_are_requested(sdekit: CLI, refused: CLI, numbered: Path, tmp_path: Path) -> None:
    """Labels 1 to 3 are three classes; 1 is the class named 1, and 0 does not exist."""
    assert sdekit("sample", numbered, "-n", 5, *QUICK, "--out", tmp_path / "all").code == 0
    assert record(tmp_path / "all")["label_names"] == ["1", "2", "3", "1", "2"]
    assert record(tmp_path / "all")["labels"] == [0, 1, 2, 0, 1]
    result = sdekit("sample", numbered, "-n", 2, *QUICK, "--label", 1, "--out", tmp_path / "one")
    assert "--label 1 is the class named '1', not the class '2' at position 1" in result.err
    assert record(tmp_path / "one")["label_names"] == ["1", "1"]
    for label in (0, 4, -1):
        message = refused("sample", numbered, f"--label={label}", "--out", tmp_path / "s")
        assert f"--label {label}: this model has the classes 1, 2, 3" in message
    assert json.loads(sdekit("info", numbered, "--json").out)["class_names"] == ["1", "2", "3"]
    assert "1, 2, 3" in sdekit("info", numbered).out


def test_several_labels(sdekit: CLI, numbered: Path, tmp_path: Path) -> None:
    """The seed of a sample chooses one of them."""
    arguments = ("--seeds", "1-3", *QUICK, "--label", "3,2", "--out", tmp_path / "s")
    assert sdekit("sample", numbered, *arguments).code == 0
    assert record(tmp_path / "s")["label_names"] == ["2", "3", "2"]


def test_negative_labels_by_name(sdekit: CLI, refused: CLI, numbered: Path, tmp_path: Path) -> None:
    """The record contains the name; another name is refused."""
    arguments = ("--label", 3, "-n", 2, *QUICK, "--out", tmp_path / "s", "--guidance")
    result = sdekit("sample", numbered, *arguments, "cfg:negative=1")
    assert result.code == 0 and "--guidance cfg:negative=1: label 1 is the class named '1'" in result.err
    assert record(tmp_path / "s")["guidance"][0]["options"]["negative"] == "1"
    message = refused("sample", numbered, *arguments[:-2], tmp_path / "t", "--guidance", "cfg:negative=0")
    assert "cfg:negative=0: label 0: this model has the classes 1, 2, 3" in message
    unlabelled = ("--guidance", "cfg:negative=cat", "--out", tmp_path / "t")
    recipe, data = plan("swiss-roll", network="mlp", options={"network": OPTIONS["network"], "train": {"steps": 1}})
    train(recipe, data, tmp_path / "plain")
    assert "the data of the model have no labels" in refused("sample", tmp_path / "plain", *unlabelled)


def test_edit_and_restore_take_names(sdekit: CLI, numbered: Path, tmp_path: Path) -> None:
    """Their records contain the names too."""
    np.save(tmp_path / "x.npy", np.zeros(2))
    arguments = ("-n", 2, "--label", 2, "--steps", 2, "--out")
    assert sdekit("edit", numbered, "--image", tmp_path / "x.npy", *arguments, tmp_path / "e").code == 0
    assert record(tmp_path / "e", "edit.json")["label_names"] == ["2", "2"]
    np.save(tmp_path / "m.npy", np.eye(2)[:1])
    degrade = ("--operator", f"matrix:matrix={tmp_path / 'm.npy'}", "--degrade", tmp_path / "x.npy", "--noise-std", 0.1)
    assert sdekit("restore", numbered, *degrade, *arguments, tmp_path / "r").code == 0
    assert record(tmp_path / "r", "restore.json")["label_names"] == ["2", "2"]


def test_a_class_that_is_only_held_out(sdekit: CLI, refused: CLI, tmp_path: Path) -> None:
    """It is trained on nowhere and requested nowhere, and `info` lists it."""
    labels = np.where(held_out(40, 0.05), "rare", np.where(np.arange(40) % 2, "b", "a"))
    assert "rare" in labels
    spec = write(tmp_path / "x.npz", list(labels))
    recipe, data = plan(spec, network="mlp", condition="label", options=OPTIONS)
    assert recipe.class_names == ("a", "b", "rare") and recipe.untrained == (2,)
    assert "no item of rare is in the training part, so that these classes are never requested" in recipe.notes
    assert set(map(int, recipe.examples(9).tolist())) == {0, 1}  # type: ignore[union-attr]
    trainer = train(recipe, data, tmp_path / "run")
    assert not len(trainer.held_out) and trainer.evaluate() == {"held_out_loss": None}
    assert sdekit("sample", tmp_path / "run", "-n", 4, *QUICK, "--out", tmp_path / "s").code == 0
    assert record(tmp_path / "s")["label_names"] == ["a", "b", "a", "b"]
    message = refused("sample", tmp_path / "run", "--label", "rare", "--out", tmp_path / "t")
    assert "no item of the class 'rare' is in the training data; the model was trained on the classes a, b" in message
    assert json.loads(sdekit("info", tmp_path / "run", "--json").out)["untrained_classes"] == ["rare"]
    judge = train(classifier_recipe(recipe, data, train={"steps": 1, "batch_size": 8}), data, tmp_path / "judge")
    assert judge.recipe.untrained == (2,) and judge.evaluate() == {"accuracy": {}}


def test_label_of_a_classifier(sdekit: CLI, refused: CLI, tmp_path: Path) -> None:
    """The classes of a classifier are those of the run if the run has them, else its own names count."""
    items = (8, 3)
    train_options = {"steps": 1, "batch_size": 8}
    np.save(tmp_path / "plain.npy", np.random.default_rng(0).normal(size=items))
    options = {"network": OPTIONS["network"], "data": {"scale": "none"}, "train": train_options}
    plain, data = plan(f"array:{tmp_path / 'plain.npy'}", network="mlp", options=options)
    train(plain, data, tmp_path / "plain")
    spec = write(tmp_path / "y.npz", ["dog", "cat"] * 4, (3,))
    labelled, source = load_data(spec, scale="none")
    train(classifier_recipe(plain, labelled, source=source, train=train_options), labelled, tmp_path / "judge")
    judge = ("--guidance", f"classifier:run={tmp_path / 'judge'}", "-n", 1, *QUICK, "--out")
    assert sdekit("sample", tmp_path / "plain", "--label", "dog", *judge, tmp_path / "s").code == 0
    assert record(tmp_path / "s")["labels"] == [1] and record(tmp_path / "s")["label_names"] == ["dog"]
    assert "(cat, dog)" in refused("sample", tmp_path / "plain", "--label", "cow", *judge, tmp_path / "t")
    three = write(tmp_path / "z.npz", ["ant", "cat", "dog", "dog"] * 2, (3,))
    run, data = plan(three, network="mlp", condition="label", options=options)
    train(run, data, tmp_path / "run")
    message = refused("sample", tmp_path / "run", "--label", "dog", *judge, tmp_path / "t")
    assert "its classes are cat, dog, and those of" in message and "the same label must mean" in message
    same = classifier_recipe(run, labelled, source=source, train=train_options)
    assert same.class_names == ("ant", "cat", "dog") and same.untrained == (0,)
    trainer = train(same, labelled, tmp_path / "same")
    assert trainer.data.labels_of([0, 1]).tolist() == [2, 1]  # type: ignore[union-attr]
    assert read_classifier(tmp_path / "same").untrained == (0,)
    with_same = ("--guidance", f"classifier:run={tmp_path / 'same'},conditional=true", *judge[2:])
    assert sdekit("sample", tmp_path / "run", "--label", "dog", *with_same, tmp_path / "u").code == 0
    assert record(tmp_path / "u")["label_names"] == ["dog"]


def test_pictures_show_names(sdekit: CLI, tmp_path: Path) -> None:
    """Samples and previews of images have the name of the class below each image."""
    spec = write(tmp_path / "x.npz", ["cat", "dog"] * 8, (4, 4))
    recipe, data = plan(spec, network="mlp", condition="label", options=OPTIONS)
    train(recipe, data, tmp_path / "run")
    for name, more in (("cat", ("--label", "cat")), ("dog", ("--label", "dog"))):
        assert sdekit("sample", tmp_path / "run", "-n", 1, *QUICK, *more, "--out", tmp_path / name).code == 0
    captions = [np.asarray(Image.open(tmp_path / name / "grid.png"))[-16:] for name in ("cat", "dog")]
    assert not np.array_equal(*captions) and all(caption.max() > 200 for caption in captions)
    (picture,) = (tmp_path / "run" / PREVIEWS).glob("*.png")
    assert Image.open(picture).height == 4 * (64 + 2 + 14) + 2


def test_runs_of_earlier_versions_keep_their_labels(sdekit: CLI, tmp_path: Path) -> None:
    """Labels were positions and folders sorted as text; such runs are sampled and resumed as before."""
    spec = write(tmp_path / "x.npz", [1, 2, 3] * 8)
    old, data = plan(spec, network="mlp", condition="label", options=OPTIONS)
    options = {name: value for name, value in old.data.options.items() if name not in ("items", "labels")}
    old = replace(old, data=replace(old.data, options=options), classes=4, class_names=(), fingerprint=())
    trainer = train(old, data, tmp_path / "run")
    y = trainer.data.labels_of([0, 1, 2])
    assert y is not None and y.tolist() == [1, 2, 3]
    path = tmp_path / "run" / CONFIG
    save_json(path, {name: value for name, value in load_json(path).items() if name not in ("untrained", "sha256")})
    assert sdekit("train", "--out", tmp_path / "run", "--resume", "--steps", 3).code == 0
    assert sdekit("sample", tmp_path / "run", "-n", 4, *QUICK, "--out", tmp_path / "s").code == 0
    assert record(tmp_path / "s")["labels"] == [0, 1, 2, 3]
    assert sdekit("sample", tmp_path / "run", "-n", 1, *QUICK, "--label", 3, "--out", tmp_path / "t").code == 0
    assert record(tmp_path / "t")["labels"] == [3]


def test_folders_of_earlier_versions(tmp_path: Path) -> None:
    """Shards were classes in the order of text, and unlabelled data stay without labels."""
    for name in ("part10", "part9"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("L", (4, 4), 9 * len(name)).save(tmp_path / "data" / name / "a.png")
    options = {"size": None, "skip_bad": False}
    recipe, _ = plan(f"images:{tmp_path / 'data'}", network="mlp", options=OPTIONS | {"train": {"steps": 1}})
    assert recipe.classes == 0
    old = replace(recipe, data=replace(recipe.data, options=options), classes=2, class_names=("part10", "part9"))
    assert load_run_data(old).class_names == ("part9", "part10")
    y = with_classes(load_run_data(old), old.classes, old.class_names).labels_of([0, 1])
    assert y is not None and y.tolist() == [0, 1]
    assert load_run_data(replace(old, classes=0, class_names=())).classes == 0


def test_the_weaker_run_of_autoguidance_has_the_same_classes(refused: CLI, numbered: Path, tmp_path: Path) -> None:
    """Otherwise a label would mean another class in the weaker run."""
    spec = write(tmp_path / "x.npz", [0, 1, 2] * 8)
    recipe, data = plan(spec, network="mlp", condition="label", options=OPTIONS)
    train(recipe, data, tmp_path / "weak")
    given = ("--guidance", f"autoguidance:run={tmp_path / 'weak'}", "--out", tmp_path / "s")
    assert "its classes are 0, 1, 2, and those of" in refused("sample", numbered, *given)


def test_names_with_commas(sdekit: CLI, tmp_path: Path) -> None:
    """A name with a comma is one class, whatever its capitals."""
    spec = write(tmp_path / "x.npz", ["collie, rough", "pug"] * 8)
    recipe, data = plan(spec, network="mlp", condition="label", options=OPTIONS)
    train(recipe, data, tmp_path / "run")
    for label, names in (("Collie, rough", ["collie, rough"] * 2), ("pug,collie", None), ("pug,1", ["pug", "pug"])):
        result = sdekit("sample", tmp_path / "run", "-n", 2, *QUICK, "--label", label, "--out", tmp_path / label)
        assert result.code == (2 if names is None else 0)
        assert names is None or record(tmp_path / label)["label_names"] == names
