"""A command that writes may be killed before any of its file operations; the next command then works.

A command runs once, in a forked child. Before each of its file operations, a hook copies the folder as a kill at this
moment leaves it: nothing is flushed, closed or cleaned up.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.runs import CHECKPOINT, MODEL, check_results_folder, load_tensors, read_metrics

from .conftest import TINY_MLP, call

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PNG = b"a picture"
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}
"""Audit events of changes to the file system, beside "open" for writing. Python raises "os.rename" for `os.replace`."""
MOONS = ("--data", "moons", "--option", "data.n=40", "--option", "train.batch_size=4", *TINY_MLP)


def record_states(command: Callable[[], object], folder: Path, states: Path) -> None:
    """Run a command in a child, and copy the folder to states/NUMBER before each of the command's operations in it.

    A copy contains the files as a kill at this moment leaves them, because it lacks what Python has not flushed.
    """
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return
    recording = True

    def before(*paths: object) -> None:
        nonlocal recording
        if recording and any(str(p).startswith(str(folder)) for p in paths if isinstance(p, str | bytes | os.PathLike)):
            recording = False  # copying raises audit events too
            shutil.copytree(folder, states / f"{len(os.listdir(states)):03}", symlinks=True)
            recording = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in OPERATIONS or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            before(*arguments)

    fsync = os.fsync

    def flushed(file: int) -> None:  # it has no audit event
        before(folder)
        fsync(file)

    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.fsync = flushed
        sys.addaudithook(hook)
        command()
    except BaseException:
        os._exit(1)
    finally:
        os._exit(0)


def kills(command: Callable[[], object], start: Path | None, folder: Path) -> Iterator[int]:
    """Yield for each kill, with the files of the folder as the kill leaves them. `start` is copied first."""
    shutil.rmtree(folder, ignore_errors=True)
    if start is not None:
        shutil.copytree(start, folder)
    folder.mkdir(exist_ok=True)
    states = folder.with_name("states")
    states.mkdir(exist_ok=True)
    record_states(command, folder, states)
    copies = sorted(states.iterdir())
    assert len(copies) > 3
    seen = set[str]()
    for k, copy in enumerate(copies):
        if (state := repr(listing(copy))) not in seen:  # several operations leave the same files
            seen.add(state)
            shutil.rmtree(folder)
            copy.rename(folder)
            yield k
    shutil.rmtree(states)


def listing(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder: bytes of files, None for folders. Names of staging folders are left out."""
    paths = sorted(folder.rglob("*"))
    stages = {p.name: f".sdekit-{i}" for i, p in enumerate(p for p in paths if p.name.startswith(".sdekit-"))}

    def name(path: Path) -> str:
        return "/".join(stages.get(part, part) for part in path.relative_to(folder).parts)

    return {name(p): p.read_bytes() if p.is_file() else None for p in paths}


def check_clean(folder: Path) -> None:
    """Assert that nothing temporary remains anywhere."""
    names = [p.name for p in folder.rglob("*")]
    assert not [n for n in names if n.startswith((".sdekit", ".lock")) or n.endswith(".partial")]


def sample(run: Path, out: Path, seed: int, *options: object) -> int:
    """Draw one sample."""
    how = ("--solver", "ddim", "--steps", 2, "--seeds", seed, "--device", "cpu")
    return call("sample", run, *how, "--out", out, *options)


def seed_of(out: Path, record: str = "sample.json") -> int:
    """Return the seed of complete results, whose array and record agree."""
    fields = json.loads((out / record).read_text())
    assert np.load(out / "samples.npy").shape[0] == 1 and len(fields["seeds"]) == 1
    return int(fields["seeds"][0])


@pytest.fixture(scope="module")
def images_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of digits. Read only."""
    out = tmp_path_factory.mktemp("crashes") / "run"
    small = ("--network", "mlp", "--option", "network.width=8", "--option", "network.depth=1")
    assert call("train", "--data", "digits", "--out", out, "--steps", 1, *small) == 0
    return out


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace drawing, which takes most of the time of tiny commands."""
    monkeypatch.setattr("sdekit.training.Denoising.preview", lambda self, model: PNG)
    monkeypatch.setattr("sdekit.evaluation.plot_errors", lambda *_: PNG)


@pytest.mark.parametrize("overwrite", [False, True])
def test_sample(images_run: Path, tmp_path: Path, overwrite: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """The results are the old or the new ones, and the next command replaces either."""
    folder, start = tmp_path / "work", tmp_path / "start"
    out = folder / "samples"
    if overwrite:
        assert sample(images_run, start / "samples", 1) == 0
    seen = set()
    for _ in kills(lambda: sample(images_run, out, 2, "--overwrite"), start if overwrite else None, folder):
        code = sample(images_run, out, 3)  # without --overwrite: refused if there are results
        seen.add(seed := seed_of(out))
        assert (code, seed) in {(2, 1), (2, 2)} if overwrite else {(2, 2), (0, 3)}
        assert sample(images_run, out, 4, "--overwrite") == 0 and seed_of(out) == 4
        assert sorted(os.listdir(out / "images")) == ["4.png"]
        check_clean(folder)
    assert seen == ({1, 2} if overwrite else {2, 3})


def test_edit_and_restore(images_run: Path, tmp_path: Path, clean: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Results of one command replace those of another one all at once."""
    folder, start = tmp_path / "work", tmp_path / "start"
    out, how = folder / "samples", ("--steps", 2, "--device", "cpu", "--overwrite")
    assert sample(images_run, start / "samples", 1) == 0

    def edit() -> int:
        return call("edit", images_run, "--image", clean, "--seeds", 2, *how, "--out", out)

    def restore(seed: int = 3) -> int:
        measured = ("--operator", "super-resolution:factor=2", "--degrade", clean)
        return call("restore", images_run, *measured, "--seeds", seed, *how, "--out", out)

    assert restore() == 0
    for command, record in ((edit, "edit.json"), (restore, "restore.json")):
        for _ in kills(command, start, folder):
            check_results_folder(out, overwrite=True)  # as the next command does first
            records = [name for name in ("sample.json", "edit.json", "restore.json") if (out / name).exists()]
            assert records in (["sample.json"], [record]) and seed_of(out, records[0]) in (1, 2, 3)
            assert (out / "before-after.png").exists() == (records == [record])
            check_clean(folder)


def final(run: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the metrics without durations, and the tensors of a run."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]
    tensors = {name: load_tensors(run / name)[0] for name in (MODEL, CHECKPOINT)}
    return rows, {f"{file}/{name}": t.numpy().tobytes() for file in tensors for name, t in tensors[file].items()}


LENGTH = ("--steps", 3, "--checkpoint-every", 2, "--option", "train.log_every=2", "--option", "train.keep_every=2")


@pytest.mark.parametrize("start", ["nothing", "run", "resume"])
def test_train(tmp_path: Path, start: str, quick: None, capfd: pytest.CaptureFixture[str]) -> None:
    """The old run remains or the new one can be continued; in the end it equals an undisturbed run and its metrics."""
    folder, old, whole = tmp_path / "work", tmp_path / "old", tmp_path / "whole"
    out = folder / "run"

    def train(out: Path = out, *options: object) -> int:
        return call("train", *MOONS, *LENGTH, "--out", out, *options)

    def resume(out: Path = out, *options: object) -> int:
        return call("train", "--out", out, "--resume", *options)

    if start == "resume":
        assert call("train", *MOONS, *LENGTH, "--steps", 2, "--out", old / "run") == 0
        shutil.copytree(old / "run", whole)
        assert resume(whole, "--steps", 3) == 0
    else:
        assert train(whole) == 0
    expected = final(whole)
    names = [{name for name in row if name in ("loss", "held_out_loss")} for row in expected[0]]
    assert names == [{"loss"}, {"held_out_loss"}, {"loss", "held_out_loss"}]
    if start == "run":
        assert call("train", *MOONS, "--out", old / "run", "--steps", 1, "--seed", 1) == 0
        (old / "run" / "notes.txt").write_text("mine")
    command = {
        "nothing": lambda: train(),
        "run": lambda: train(out, "--overwrite"),
        "resume": lambda: resume(out, "--steps", 3),
    }[start]
    for _ in kills(command, None if start == "nothing" else old, folder):
        if start == "run" and (out / "kept").exists():
            break  # from here on, the operations are those of "nothing"
        if start == "resume":
            assert call("info", out) == 0 and resume(out, "--steps", 3) == 0
        elif train(out) != 0:  # a run with weights
            assert not (out / MODEL).exists() or call("info", out) == 0
            assert resume() == 0
            if len(read_metrics(out)) == 1:  # the old run
                assert start == "run" and train(out, "--overwrite") == 0
        assert final(out) == expected
        assert (out / "previews" / "step-0000003.png").read_bytes() == PNG
        assert start != "run" or (out / "notes.txt").read_text() == "mine"
        check_clean(folder)


def test_tune(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A tuned file is complete or absent, and the next tuning removes what a killed one left."""
    start, folder = tmp_path / "start", tmp_path / "work"
    assert call("train", *MOONS, "--steps", 1, "--out", start / "run") == 0
    out = folder / "run"

    def save() -> object:
        from sdekit.tuning import Tuned, save_tuned

        tuned = Tuned(calls=2, levels=(1.0,), gains=(), starts=1, untuned=2.0, tuned=1.0)
        return save_tuned(out, "ddim", {}, tuned)

    for _ in kills(save, start, folder):
        assert call("sample", out, "--solver", "ddim", "--nfe", 2, "-n", 1, "--out", tmp_path / "s", "--overwrite") == 0
        save()
        assert os.listdir(out / "tuned") == ["ddim-2.json"]
        check_clean(folder)


def test_plot(tmp_path: Path, quick: None, capfd: pytest.CaptureFixture[str]) -> None:
    """A plot is the old or the new one, and other files of its folder stay."""
    start, folder = tmp_path / "start", tmp_path / "work"
    start.mkdir()
    (start / "plot.png").write_bytes(b"old")
    (start / "notes.txt").write_text("mine")

    def bench() -> int:
        return call("bench", "mixture", "--solver", "ddim", "--nfe", 2, "-n", 2, "--plot", folder / "plot.png")

    for _ in kills(bench, start, folder):
        content = (folder / "plot.png").read_bytes()
        assert content in (b"old", PNG)
        assert bench() == 0 and sorted(os.listdir(folder)) == ["notes.txt", "plot.png"]


def test_new_plugin(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A new plugin is complete or absent."""
    folder = tmp_path / "work"
    out = folder / "acme-heun"

    def new() -> int:
        return call("plugins", "new", "acme-heun", "--out", out)

    folder.mkdir()
    assert new() == 0
    whole = listing(out)
    for _ in kills(new, None, folder):
        assert new() in (0, 2) and listing(out) == whole
        check_clean(folder)


@pytest.mark.parametrize("overwrite", [False, True])
def test_export(images_run: Path, tmp_path: Path, overwrite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is the old or the new one. The format writes the weights only, because real ones take seconds."""
    from sdekit.models import open_model
    from sdekit.runs import EXPORT, load_json, save_json, staged_export

    folder, start = tmp_path / "work", tmp_path / "start"
    out = folder / "export"

    def export(version: int, out: Path = out) -> None:
        with staged_export(out, overwrite=True) as new:
            for name in ("conditional.onnx", "unconditional.onnx", "unconditional.onnx.data"):
                (new / name).write_text(f"{version}")
            save_json(new / EXPORT, {"export": version})

    if overwrite:
        export(1, start / "export")
    for _ in kills(lambda: export(2), start if overwrite else None, folder):
        if overwrite:
            with pytest.raises(ValueError, match="does not describe an export"):  # a reader finishes the replacement
                open_model(str(out))
        if (out / EXPORT).exists():
            versions = {(out / name).read_text() for name in os.listdir(out) if name.endswith((".onnx", ".data"))}
            assert versions == {str(load_json(out / EXPORT)["export"])}
        else:
            assert not overwrite
        export(3)
        assert load_json(out / EXPORT)["export"] == 3 and len(os.listdir(out)) == 4
        check_clean(folder)
