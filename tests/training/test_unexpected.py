"""Run folders whose files parse but hold something unexpected, are of several runs, or of one that never began."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sdekit.errors import InputError
from sdekit.runs import (
    CHECKPOINT,
    CONFIG,
    FORMAT,
    METRICS,
    MODEL,
    TUNED,
    files as checkpoint,
    load_json,
    load_run,
    load_tensors,
    read_metrics,
    read_recipe as read,
    save_json,
    save_tensors,
    snapshot_name,
)
from sdekit.training import Trainer, plan, train

Moons = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, moons: Moons) -> Path:
    """A finished run of 4 steps, with a row of metrics for each."""
    train(*moons(steps=4, log_every=1, keep_every=2), tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", "x", "format is 'x'; expected a whole number"),
        ("format", None, "format is None; expected a whole number"),
        ("shape", 5, "shape is 5; expected a list of sizes"),
        ("shape", [0], "shape is .0."),
        ("data_std", "x", "data_std is 'x'; expected a number above 0"),
        ("data_std", 0, "data_std is 0"),
        ("units.scale", 0, "units.scale is 0; expected a number other than 0"),
        ("units.scale", [1.0, 0.0], r"units.scale is \[1.0, 0.0\]"),
        ("units.scale", [1.0], "units.scale has 1 of 2 numbers"),
        ("units.shift", "x", "units.shift is 'x'"),
        ("units.layout", 3, "units.layout is 3; expected one of same, l, hw, dhw, lc, hwc, dhwc"),
        ("units.other", 3, "other"),
        ("units", None, "units is None; expected a table"),
        ("sde", [], r"sde is \[\]; expected a table"),
        ("sde.name", 3, "sde.name is 3; expected text"),
        ("network.options", None, "network.options is None; expected a table"),
        ("network.options.width", "x", "its network cannot be built"),
        ("network.options.width", -3, "its network cannot be built"),
        ("sde.options.beta_min", "x", "its sde cannot be built"),
        ("prediction", "zz", "prediction is 'zz'; expected one of x0, eps"),
        ("condition", ["none"], "condition is"),
        ("condition", "numbers", "condition_units is missing"),
        ("classes", -1, "classes is -1"),
        ("class_names", None, "class_names is None"),
        ("items", True, "items is True"),
        ("train.steps", "x", "train.steps is 'x'; expected a whole number, or null"),
        ("train.batch_size", 2.5, "train.batch_size is 2.5; expected a whole number"),
        ("train.decay", None, "train.decay is None; expected text"),
        ("train.ema", 3.0, "ema must be at least 0"),
    ],
)
def test_unexpected_field(run: Path, field: str, value: object, message: str) -> None:
    """The file and the field are named, though the checksum is right."""
    fields = load_json(run / CONFIG)
    *path, name = field.split(".")
    place = fields
    for part in path:
        place = place[part]
    place[name] = value
    save_json(run / CONFIG, fields)
    with pytest.raises(InputError, match=f"{CONFIG}.*{message}"):
        load_run(run)


@pytest.mark.parametrize("rest", [{}, {"versions": None, "shape": 5}, {"versions": {"sdekit": "9.9"}, "kind": 3}])
def test_newer_run_whatever_it_holds(run: Path, rest: dict[str, Any]) -> None:
    save_json(run / CONFIG, {"format": FORMAT + 1, **rest})
    with pytest.raises(InputError, match="was written by sdekit .*: upgrade sdekit to read it"):
        load_run(run)


@pytest.mark.parametrize("line", ["null", "[1]", '{"loss": 1.0}', '{"step": "x"}', '{"step": 2, "loss": "x"}', "{"])
@pytest.mark.parametrize("where", [0, 2, -1])
def test_line_that_is_no_row(run: Path, moons: Moons, line: str, where: int) -> None:
    """That line is passed over, and no other; resuming keeps the rest."""
    rows = read_metrics(run)
    lines = (run / METRICS).read_text().splitlines()
    lines.insert(where if where >= 0 else len(lines), line)
    (run / METRICS).write_text("\n".join(lines) + "\n")
    assert read_metrics(run) == rows and len(rows) > 4
    train(*moons(steps=4, log_every=1, keep_every=2), run, resume=True)
    assert [json.loads(text) for text in (run / METRICS).read_text().splitlines()] == rows


def test_metrics_that_are_a_folder(run: Path, moons: Moons) -> None:
    (run / METRICS).unlink()
    (run / METRICS).mkdir()
    with pytest.raises(InputError, match=f"{METRICS} cannot be read"):
        read_metrics(run)
    with pytest.raises(InputError, match=f"{METRICS} cannot be read"):
        train(*moons(steps=5, log_every=1, keep_every=2), run, resume=True)


@pytest.mark.parametrize(
    ("file", "fields", "message"),
    [
        (MODEL, {}, "its step is None"),
        (MODEL, [1], "expected a table"),
        (CHECKPOINT, {"seconds": 1.0}, "its step is None"),
        (CHECKPOINT, {"step": 4, "seconds": None}, "seconds is None; expected a number"),
        (CHECKPOINT, {"step": 4, "seconds": 1.0, "losses": 3}, "losses is 3; expected a list"),
        (CHECKPOINT, {"step": 4, "seconds": 1.0, "updates": [3]}, "updates is .3.; expected a table"),
    ],
)
def test_unexpected_fields_of_weights(run: Path, moons: Moons, file: str, fields: Any, message: str) -> None:
    tensors, _ = load_tensors(run / file)
    if isinstance(fields, list):
        record = json.dumps(fields)
        save_file(tensors, run / file, {"fields": record, "sha256": checkpoint._tensor_digest(tensors, record)})
    else:
        save_tensors(run / file, tensors, fields)
    with pytest.raises(InputError, match=f"{Path(file).name}.*{message}"):
        if file == MODEL:
            load_run(run)
        else:
            Trainer(*moons(steps=5, log_every=1, keep_every=2), run, resume=True)


def test_weights_of_another_run(tmp_path: Path, moons: Moons) -> None:
    """Where their shapes agree too: both files are named. What an older sdekit wrote does not tell, and loads."""
    given = {"network": {"width": 8, "depth": 1}, "train": {"steps": 2, "batch_size": 4, "keep_every": 1}}
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(3, 2, (40, 2)))
    one, data = plan("moons", network="mlp", options=given)
    train(one, data, tmp_path / "one")
    for other in (
        plan("moons", network="mlp", options=given, sde="ve"),
        plan("moons", network="mlp", options=given, prediction="v"),
        plan(f"array:{tmp_path / 'x.npy'}", network="mlp", options=given),
    ):
        train(*other, tmp_path / "other", overwrite=(tmp_path / "other").exists())
        for name in (MODEL, snapshot_name(1)):
            shutil.copy(tmp_path / "other" / name, tmp_path / "one" / name)
        for step in (None, 1):
            with pytest.raises(InputError, match=r"safetensors does not belong to the config.json of its run"):
                load_run(tmp_path / "one", step=step)
        before = (tmp_path / "one" / CHECKPOINT).read_bytes()
        shutil.copy(tmp_path / "other" / CHECKPOINT, tmp_path / "one" / CHECKPOINT)
        with pytest.raises(InputError, match="training.safetensors does not belong to the config.json"):
            Trainer(one, data, tmp_path / "one", resume=True)
        (tmp_path / "one" / CHECKPOINT).write_bytes(before)
    Trainer(one, data, tmp_path / "one", resume=True)  # writes the model of the checkpoint
    assert load_run(tmp_path / "one").step == 2
    tensors, fields = load_tensors(tmp_path / "one" / MODEL)
    del fields["recipe"]
    save_tensors(tmp_path / "one" / MODEL, tensors, fields)
    assert load_run(tmp_path / "one").step == 2


@pytest.mark.parametrize("how", ["stop", "limit", "crash"])
def test_ended_before_its_first_checkpoint(tmp_path: Path, moons: Moons, how: str) -> None:
    """Nothing is saved, and resuming begins at step 0: the same run as if nothing had happened."""
    recipe, data = moons(steps=6, dropout=0.2, log_every=1)
    whole, out = train(recipe, data, tmp_path / "whole"), tmp_path / "run"
    limited, _ = moons(steps=6, dropout=0.2, log_every=1, time_limit=1e-9)
    trainer = Trainer(limited if how == "limit" else recipe, data, out)
    if how == "stop":
        trainer.stop()
    for now in trainer.run():
        if now.step == 3:  # row 2 is written, no checkpoint
            break
    assert set(os.listdir(out)) - {METRICS} == {CONFIG}
    with pytest.raises(InputError, match="not trained as far as its first checkpoint. Train it with --resume"):
        load_run(out)
    resumed = Trainer(recipe, data, out, resume=True)
    assert resumed.step == 0 and read_metrics(out) == []
    for _ in resumed.run():
        pass
    assert resumed.step == whole.step
    (a, _), (b, _) = (load_tensors(folder / MODEL) for folder in (out, tmp_path / "whole"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert [row["step"] for row in read_metrics(out)] == [row["step"] for row in read_metrics(tmp_path / "whole")]


def test_model_without_a_checkpoint_is_not_trained_anew(run: Path, moons: Moons) -> None:
    shutil.rmtree(run / "checkpoint")
    before = (run / MODEL).read_bytes()
    with pytest.raises(InputError, match="training.safetensors is missing"):
        Trainer(*moons(steps=9, log_every=1, keep_every=2), run, resume=True)
    assert (run / MODEL).read_bytes() == before


def test_overwrite_removes_what_was_tuned(run: Path, moons: Moons) -> None:
    (run / TUNED).mkdir()
    (run / TUNED / "heun-8.json").write_text("{}")
    train(*moons(steps=1), run, overwrite=True)
    assert not (run / TUNED).exists()


def test_data_that_are_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for with the data says where it looked and what to do; what needs none of them goes on."""
    (tmp_path / "begun").mkdir()
    monkeypatch.chdir(tmp_path / "begun")
    np.save("x.npy", np.random.default_rng(0).random((40, 2)))
    given = {"network": {"width": 8, "depth": 1}, "train": {"steps": 1, "batch_size": 4}}
    train(*plan("array:x.npy", network="mlp", options=given), tmp_path / "run")
    assert read(tmp_path / "run", with_data=True).data.name == "array:x.npy"
    monkeypatch.chdir(tmp_path)
    where = re.escape(str(tmp_path / "x.npy"))
    with pytest.raises(InputError, match=rf"relative to the folder in which training started.*{where}.*put a link"):
        read(tmp_path / "run", with_data=True)
    assert load_run(tmp_path / "run").step == 1
    os.symlink(tmp_path / "begun" / "x.npy", "x.npy")
    assert read(tmp_path / "run", with_data=True)
    train(*plan(f"array:{tmp_path / 'x.npy'}", network="mlp", options=given), tmp_path / "run", overwrite=True)
    os.unlink("x.npy")
    with pytest.raises(InputError, match="does not exist any more: put the data back, or a link"):
        read(tmp_path / "run", with_data=True)
