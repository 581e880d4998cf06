"""Run folders that are moved, replaced or filled during a training, and files that belong to another run."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdekit.data import Dataset
from sdekit.errors import InputError, SdekitError
from sdekit.runs import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    MODEL,
    fingerprint,
    is_same_data,
    load_json,
    load_run,
    load_tensors,
    read_metrics,
    read_recipe,
    save_json,
    save_tensors,
    snapshot_name,
)
from sdekit.runs.layout import LOCK
from sdekit.training import Trainer, plan, train

Moons = Callable[..., Any]
Same = Callable[[Path, Path], None]


def move(run: Path) -> None:
    """Move a run folder away."""
    run.rename(run.with_name("moved"))


def replace_by_other(run: Path) -> None:
    """Put the folder of another run in its place."""
    shutil.rmtree(run)
    shutil.copytree(run.with_name("other"), run)


ACCIDENTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "moved": (move, "was moved or removed during the training"),
    "removed": (shutil.rmtree, "was moved or removed during the training"),
    "config removed": (lambda run: (run / CONFIG).unlink(), "was moved or removed during the training"),
    "replaced": (replace_by_other, "contains another run now"),
    "replaced by a file": (lambda run: (shutil.rmtree(run), run.write_text("mine"))[0], "was moved or removed"),
}


@pytest.mark.parametrize("event", ["checkpoint", "metrics"])
@pytest.mark.parametrize("accident", ACCIDENTS)
def test_lost_folder(tmp_path: Path, moons: Moons, same_run: Same, accident: str, event: str) -> None:
    """The training stops, creates nothing in the old place, and saves a complete run that equals an undisturbed one."""
    happen, message = ACCIDENTS[accident]
    options = {"checkpoint_every": 4, "log_every": 6 if event == "metrics" else 8}
    recipe, data = moons(steps=12, **options)
    train(recipe, data, tmp_path / "whole")
    train(*moons(steps=2, seed=1), tmp_path / "other")
    run, stopped = tmp_path / "run", 6 if event == "metrics" else 8
    trainer = Trainer(recipe, data, run)
    (tmp_path / "run-rescued").mkdir()  # a name that is taken
    with pytest.raises(SdekitError, match=f"{message}.*The run is saved up to step {stopped} in .*run-rescued-2: go"):
        for now in trainer.run():
            if now.step == 5:
                happen(run)
                before = sorted(run.rglob("*"))
    assert run.exists() == (accident not in ("moved", "removed"))
    assert sorted(p for p in run.rglob("*") if p.name != LOCK) == [p for p in before if p.name != LOCK]
    rescued = tmp_path / "run-rescued-2"
    train(recipe, data, rescued, resume=True)
    same_run(rescued, tmp_path / "whole")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ESTALE, errno.EIO])
def test_folder_that_cannot_be_written(
    tmp_path: Path, moons: Moons, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last checkpoint stays, and the run is saved in another folder, or the message does not promise it."""
    recipe, data = moons(steps=9, checkpoint_every=3, log_every=9)
    trainer, run = Trainer(recipe, data, tmp_path / "run"), tmp_path / "run"
    broken, real = [str(run)], os.mkdir

    def refuse(path: Any, *arguments: Any, **options: Any) -> None:
        if any(str(path).startswith(place + "/") for place in broken):
            raise OSError(code, os.strerror(code))
        real(path, *arguments, **options)

    for everywhere in (False, True):
        if everywhere:
            trainer = Trainer(recipe, data, run, resume=True)
            broken.append(str(tmp_path))
            monkeypatch.setattr("sdekit.training.trainer.gettempdir", lambda: str(tmp_path / "tmp"))
        with monkeypatch.context() as patch, pytest.raises(SdekitError) as error:
            for now in trainer.run():
                if now.step == 5:
                    patch.setattr(os, "mkdir", refuse)
        assert os.strerror(code) in str(error.value)
        assert load_run(run).step == 3
        expected = "in another folder either" if everywhere else "saved up to step 6 in"
        assert expected in str(error.value) and ("go on with" in str(error.value)) != everywhere
    assert train(recipe, data, tmp_path / "run-rescued", resume=True).finished
    assert train(recipe, data, run, resume=True).finished


def test_message_about_the_checkpoint_of_a_lost_folder(tmp_path: Path, moons: Moons) -> None:
    """After the folder was replaced, an error of the loss does not promise the checkpoint of the other run."""
    train(*moons(steps=2), tmp_path / "other")
    trainer = Trainer(*moons(steps=9, log_every=50), tmp_path / "run")

    def fail(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output * (float("nan") if trainer.step == 5 else 1.0)

    trainer.model.network.register_forward_hook(fail)
    with pytest.raises(SdekitError, match="the loss is nan at step 6.*contains another run now"):
        for now in trainer.run():
            if now.step == 5:
                replace_by_other(tmp_path / "run")


def test_short_run_has_a_row(tmp_path: Path, moons: Moons) -> None:
    """A run shorter than the interval of its rows has one row, with the loss of training and of held-out data."""
    train(*moons(steps=3, log_every=50), tmp_path / "run")
    (row,) = read_metrics(tmp_path / "run")
    assert row["step"] == 3 and row["loss"] > 0 and row["held_out_loss"] > 0 and row["learning_rate"] >= 0


@pytest.mark.parametrize("steps", [4, 6, 7])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_rows_lost_before_the_end(tmp_path: Path, moons: Moons, same_run: Same, steps: int, lost: int) -> None:
    """Evaluations that were not written after a checkpoint are written on resuming, also after the last step."""
    recipe, data = moons(steps=steps, checkpoint_every=2, log_every=4)
    train(recipe, data, tmp_path / "whole")
    for now in Trainer(recipe, data, tmp_path / "run").run():
        if now.step == 5:
            break
    else:
        shutil.copytree(tmp_path / "whole", tmp_path / "run", dirs_exist_ok=True)
    lines = (tmp_path / "run" / METRICS).read_bytes().splitlines(keepends=True)
    step = load_tensors(tmp_path / "run" / CHECKPOINT)[1]["step"]
    kept = lines[:-1] if lost == 1 and b"held_out_loss" in lines[-1] else lines
    (tmp_path / "run" / METRICS).write_bytes(b"".join(kept) + (lines[-1][: 9 * lost] if lost > 1 else b""))
    assert train(recipe, data, tmp_path / "run", resume=True).step == steps >= step
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")


def numbers(run: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics without durations."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]


def test_longer_run_has_the_rows_of_a_longer_run(tmp_path: Path, moons: Moons) -> None:
    """If a finished run is continued, its last row becomes one of an undisturbed longer run, or is removed."""
    for steps in (6, 7):
        run, whole = tmp_path / f"run-{steps}", tmp_path / f"whole-{steps}"
        recipe, data = moons(steps=steps, checkpoint_every=3, log_every=4, decay="constant")
        longer = replace(recipe, train=replace(recipe.train, steps=12))
        train(recipe, data, run)
        train(longer, data, run, resume=True)
        train(longer, data, whole)
        assert numbers(run) == numbers(whole)


# Files of another run


@pytest.fixture
def array(tmp_path: Path) -> Callable[..., tuple[Any, Dataset]]:
    """array(seed=0, name="data", **train) plans a run on an array of random numbers."""

    def make(seed: int = 0, name: str = "data", **options: Any) -> tuple[Any, Dataset]:
        path = tmp_path / f"{name}.npz"
        np.savez(path, x=np.random.default_rng(seed).integers(0, 9, (40, 3)) / 8, y=np.arange(40) % 2)
        given = {"network": {"width": 8, "depth": 1}, "train": {"steps": 2, "batch_size": 4, "keep_every": 1} | options}
        return plan(f"array:{path}", options=given, network="mlp")

    return make


@pytest.mark.parametrize("difference", ["seed", "data", "option"])
@pytest.mark.parametrize("file", [CHECKPOINT, MODEL, snapshot_name(1), CONFIG])
def test_file_of_another_run(tmp_path: Path, array: Any, difference: str, file: str) -> None:
    """A file from a run with another seed, data set or option is refused, and the message names it."""
    run = tmp_path / "run"
    recipe, data = array()
    train(recipe, data, run)
    other, other_data = array(1 if difference == "data" else 0)
    options = {"seed": {"seed": 1}, "option": {"learning_rate": 1e-3}, "data": {}}[difference]
    # equal units and standard deviations, so that only the items differ
    other = replace(other, units=recipe.units, data_std=recipe.data_std, train=replace(other.train, **options))
    train(other, other_data, tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / file, run / file)
    named = MODEL if file == CONFIG else Path(file).name
    with pytest.raises(InputError, match=f"{named} does not belong to the config.json of its run"):
        load_run(run, step=1 if file == snapshot_name(1) else None)
        Trainer(read_recipe(run), data, run, resume=True)


def test_snapshot_of_another_step(tmp_path: Path, array: Any) -> None:
    """Averaged weights under the name of another step are refused."""
    train(*array(), tmp_path / "run")
    shutil.copyfile(tmp_path / "run" / snapshot_name(1), tmp_path / "run" / snapshot_name(2))
    with pytest.raises(InputError, match="contains the weights of step 1"):
        load_run(tmp_path / "run", step=2)


def test_resume_with_other_items(tmp_path: Path, array: Any) -> None:
    """Data of the same shape, size, units and labels but with other items are refused; moved data are not."""
    train(*array(), run := tmp_path / "run")
    recipe = read_recipe(run)
    _, other = array(1, "other")
    other.units = recipe.units
    with pytest.raises(InputError, match="not what the run was trained on: their items have other values"):
        Trainer(recipe, other, run, resume=True)
    _, moved = array(0, "moved")
    longer = replace(recipe, train=replace(recipe.train, steps=3))
    assert train(longer, moved, run, resume=True).step == 3 and load_run(run).step == 3


def test_run_of_an_earlier_version(tmp_path: Path, array: Any) -> None:
    """A run without identity and fingerprint opens and resumes, and its files stay readable."""
    recipe, data = array()
    train(recipe, data, run := tmp_path / "run")
    fields = load_json(run / CONFIG)
    save_json(run / CONFIG, {k: v for k, v in fields.items() if k not in ("identity", "fingerprint")})
    for name in (CHECKPOINT, MODEL):
        tensors, record = load_tensors(run / name)
        save_tensors(run / name, tensors, {k: v for k, v in record.items() if k != "run"})
    assert load_run(run).step == 2
    train(replace(recipe, train=replace(recipe.train, steps=4)), data, run, resume=True)
    assert load_run(run).step == 4 and "run" not in load_tensors(run / MODEL)[1]


def test_fingerprint(array: Any, moons: Moons) -> None:
    """It depends on items and labels, not on the file, and tolerates the rounding of another decoder."""
    one, same, other = (fingerprint(data) for _, data in (array(), array(0, "copy"), array(1)))
    assert one == same and len(one) == 32 and is_same_data(one, same) and not is_same_data(one, other)
    assert is_same_data(one, [v and v + 1e-3 for v in one]) and not is_same_data(one, [*one[:-1], 5.0])
    assert is_same_data((), one) and is_same_data(one, [None] * 32) and not is_same_data(one, one[:-2])
