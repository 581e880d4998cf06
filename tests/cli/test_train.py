"""`sdekit train`: every kind of data, resumption, Ctrl-C, and a full disk."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdekit.data import held_out
from sdekit.runs import CHECKPOINT, METRICS, MODEL, load_run, load_tensors, read_metrics
from sdekit.sampling import sample

CLI = Callable[..., Any]
TINY_UNET = ("--network", "unet", "--option", "network.width=8", "--option", "train.batch_size=4")
TINY_MLP = ("--network", "mlp", "--option", "network.width=8", "--option", "network.depth=1")
SDEKIT = (sys.executable, "-m", "sdekit_cli")


def same_tensors(one: Path, other: Path) -> bool:
    """Whether model and checkpoint of two runs are bitwise equal."""
    pairs = [(load_tensors(one / name)[0], load_tensors(other / name)[0]) for name in (MODEL, CHECKPOINT)]
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


def test_digits(digits_run: Path) -> None:
    """The run is as asked, and every file of it is there."""
    run = load_run(digits_run)
    assert run.step == 4 and run.recipe.network.options["width"] == 8 and run.recipe.train.batch_size == 4
    assert sorted(p.name for p in digits_run.iterdir()) == [
        "checkpoint", "config.json", "metrics.jsonl", "model.safetensors", "previews",
    ]  # fmt: skip


def test_summary_for_people(sdekit: CLI, tmp_path: Path) -> None:
    """What is trained is said before, the result and the next command after; stdout stays empty."""
    result = sdekit("train", "--data", "moons", "--out", tmp_path / "run", "--steps", 2, *TINY_MLP)
    assert result.code == 0 and result.out == ""
    assert "training mlp" in result.err and "process vp" in result.err
    assert "trained 2 steps" in result.err and f"sdekit sample {tmp_path / 'run'} --out samples" in result.err


def test_time_limit_beside_steps(sdekit: CLI, tmp_path: Path) -> None:
    """A session that the limit ends says how to go on, and the next one goes on."""
    run, limit = tmp_path / "run", ("--steps", 10**6, "--time-limit", 0.2)
    result = sdekit("train", "--data", "moons", "--out", run, *limit, *TINY_MLP)
    reached = load_run(run).step
    assert result.code == 0 and f"reached --time-limit at step {reached} of 1000000" in result.err
    assert f"sdekit train --out {run} --resume" in result.err and "Sample it" not in result.err
    result = sdekit("train", "--out", run, "--resume", "--json")
    assert json.loads(result.out)["step"] > reached and json.loads(result.out)["finished"] is False


def test_json(sdekit: CLI, tmp_path: Path) -> None:
    """--json prints exactly one JSON object and nothing else."""
    result = sdekit("train", "--data", "moons", "--out", tmp_path / "run", "--steps", 2, *TINY_MLP, "--json")
    fields = json.loads(result.out)
    assert result.code == 0 and result.err.strip() == ""
    assert fields["step"] == 2 and fields["finished"] is True and fields["skipped"] == 0
    assert fields["held_out_loss"] == pytest.approx(read_metrics(tmp_path / "run")[-1]["held_out_loss"], abs=1e-5)


@pytest.mark.parametrize(("suffix", "labelled"), [("npy", False), ("npz", True)])
def test_array(sdekit: CLI, tmp_path: Path, suffix: str, labelled: bool) -> None:
    """A .npy of grey images and a .npz with labels train; samples come back in its layout and in 0 to 255."""
    rng, path, run = np.random.default_rng(0), tmp_path / f"x.{suffix}", tmp_path / "run"
    x = rng.integers(0, 200, (24, 8, 9)).astype(np.uint8)
    np.savez(path, x=x, y=np.arange(24) % 3) if labelled else np.save(path, x)
    condition = ("--condition", "label") if labelled else ()
    assert sdekit("train", "--data", f"array:{path}", "--out", run, "--steps", 2, *TINY_UNET, *condition).code == 0
    assert load_run(run).recipe.classes == (3 if labelled else 0)
    assert sdekit("sample", run, "--out", tmp_path / "s", "-n", 2, "--steps", 2, "--solver", "heun").code == 0
    model = load_run(run).model
    found = sample(model.sde, model, "heun", shape=(1, 8, 9), n=2, steps=2, y=torch.arange(2) if labelled else None).x
    np.testing.assert_allclose(
        np.load(tmp_path / "s" / "samples.npy"), 127.5 * found[:, 0] + 127.5, rtol=1e-4, atol=1e-2
    )


def test_table(sdekit: CLI, tmp_path: Path) -> None:
    """A CSV with a column of classes trains, and samples have its columns, without a picture where it has three."""
    rows = [f"{i % 7},{i % 5},{i * 0.1},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("x,y,z,kind\n" + "\n".join(rows))
    given = ("--option", "data.label=kind", "--condition", "label", *TINY_MLP)
    assert (
        sdekit("train", "--data", f"table:{tmp_path / 't.csv'}", "--out", tmp_path / "run", "--steps", 2, *given).code
        == 0
    )
    result = sdekit("sample", tmp_path / "run", "--out", tmp_path / "s", "-n", 3, "--label", 1, "--solver", "ddim")
    assert result.code == 0 and np.load(tmp_path / "s" / "samples.npy").shape == (3, 3)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        "pairs.png",
        "sample.json",
        "samples.csv",
        "samples.npy",
    ]


def test_images(sdekit: CLI, pictures: Path, tmp_path: Path) -> None:
    """Class folders of RGB images train, resume and sample in RGB."""
    run = tmp_path / "run"
    given = ("--data", f"images:{pictures}", "--condition", "label", *TINY_UNET)
    assert sdekit("train", *given, "--out", run, "--steps", 2).code == 0
    assert load_run(run).recipe.class_names == ("cat", "dog")
    assert sdekit("train", "--out", run, "--resume", "--steps", 3).code == 0
    assert sdekit("sample", run, "--out", tmp_path / "s", "-n", 2, "--solver", "ddim", "--steps", 2).code == 0
    assert np.load(tmp_path / "s" / "samples.npy").shape == (2, 3, 8, 8)
    assert (
        sdekit(
            "train", "--data", f"images:{pictures}", "--size", 12, "--out", tmp_path / "b", "--steps", 1, *TINY_UNET
        ).code
        == 0
    )
    assert load_run(tmp_path / "b").recipe.shape == (3, 12, 12)


def test_what_the_data_are_taken_for(sdekit: CLI, pictures: Path, tmp_path: Path) -> None:
    """A training prints kind, shape, range, classes and files that are left out, and the run records the notes."""
    (pictures / "cat" / "x.heic").write_bytes(b"")
    given = ("train", "--steps", 1, *TINY_MLP, "--out", tmp_path / "a", "--data")
    result = sdekit(*given, f"images:{pictures}", "--size", "12x6")
    assert result.code == 0 and "colour images of 12x6 pixels, values from 0 to 255, 2 classes (cat, dog)" in result.err
    recipe = load_run(tmp_path / "a").recipe
    assert recipe.shape == (3, 6, 12) and recipe.notes[0] in result.err and "1 .heic (cat/x.heic)" in recipe.notes[0]
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((6, 5, 8, 12), dtype=np.float32))
    result = sdekit(*given, f"array:{tmp_path / 'x.npy'}", "--overwrite")
    assert result.code == 0 and "6 images of 5 channels and 12x8 pixels, values from" in result.err
    assert "(N, C, H, W) of 5 channels" in result.err and list((tmp_path / "a" / "previews").iterdir())


@pytest.mark.parametrize("part", ["header", "pixels"])
def test_corrupt_image(sdekit: CLI, refused: Callable[..., str], pictures: Path, tmp_path: Path, part: str) -> None:
    """One damaged image in the middle is named; --skip-bad goes on, counts it and says so."""
    bad = pictures / "cat" / "04.png"
    bad.write_bytes(b"\x00" * 60 if part == "header" else bad.read_bytes()[:80])
    given = ("train", "--data", f"images:{pictures}", "--out", tmp_path / "run", "--steps", 2, *TINY_UNET)
    given += ("--option", "train.held_out=0")
    message = refused(*given)
    assert "cat/04.png" in message and "--skip-bad" in message
    result = sdekit(*given, "--skip-bad")
    assert result.code == 0 and "skipped 1 items that could not be read, the first cat/04.png" in result.err
    result = sdekit(*given, "--skip-bad", "--overwrite", "--json")
    assert json.loads(result.out)["skipped"] == 1


def test_image_that_is_found_corrupt_late(sdekit: CLI, pictures: Path, tmp_path: Path) -> None:
    """Damage that only the held-out loss meets is exit 1; what was trained until then is saved."""
    names = sorted(p.relative_to(pictures).as_posix() for p in pictures.rglob("*.png"))
    bad = next(name for name, out in zip(names, held_out(12, 0.3), strict=True) if out)
    (pictures / bad).write_bytes((pictures / bad).read_bytes()[:80])
    given = ("--out", tmp_path / "run", "--steps", 2, *TINY_UNET, "--option", "train.held_out=0.3")
    result = sdekit("train", "--data", f"images:{pictures}", *given)
    assert result.code == 1 and result.err.count("error:") == 1 and bad in result.err and "--skip-bad" in result.err
    assert "stopped after step 2 and the last good checkpoint, of step 2, is kept" in " ".join(result.err.split())
    assert load_run(tmp_path / "run").step == 2
    result = sdekit("train", "--out", tmp_path / "run", "--resume", "--steps", 4, "--skip-bad", "--json")
    assert result.code == 0 and json.loads(result.out)["skipped"] == 1
    assert load_run(tmp_path / "run").step == 4 and load_run(tmp_path / "run").recipe.data.options["skip_bad"] is True


def test_skip_bad_when_resuming_is_for_images(refused: Callable[..., str], digits_run: Path) -> None:
    """Data that are not files have none to skip."""
    assert "--skip-bad applies to images:PATH only" in refused("train", "--out", digits_run, "--resume", "--skip-bad")


def test_config_file(sdekit: CLI, tmp_path: Path) -> None:
    """Names and options come from the file; a flag and an --option win over it."""
    (tmp_path / "c.toml").write_text(
        'data = "moons"\nsde = "ve"\nprediction = "v"\nnetwork = "mlp"\n'
        "[option.network]\nwidth = 12\ndepth = 1\n[option.train]\nsteps = 9\nbatch_size = 3\nseed = 5\n"
        "[option.sde]\nsigma_max = 30\n"
    )
    given = ("--sde", "edm", "--batch-size", 6, "--option", "train.steps=2")
    (tmp_path / "d.toml").write_text((tmp_path / "c.toml").read_text().replace("[option.sde]\nsigma_max = 30\n", ""))
    assert sdekit("train", "--config", tmp_path / "d.toml", "--out", tmp_path / "run", *given).code == 0
    recipe = load_run(tmp_path / "run").recipe
    assert (recipe.data.name, recipe.sde.name, recipe.prediction) == ("moons", "edm", "v")
    assert recipe.network.options["width"] == 12
    assert (recipe.train.steps, recipe.train.batch_size, recipe.train.seed) == (2, 6, 5)
    assert sdekit("train", "--config", tmp_path / "c.toml", "--out", tmp_path / "b", "--steps", 1).code == 0
    assert load_run(tmp_path / "b").recipe.sde.options["sigma_max"] == 30


def test_overwrite(sdekit: CLI, refused: Callable[..., str], tmp_path: Path) -> None:
    """Another run in --out is refused before the data are read, and replaced whole with --overwrite."""
    given = ("train", "--data", "moons", "--out", tmp_path / "run", *TINY_MLP)
    assert sdekit(*given, "--steps", 3).code == 0
    message = refused("train", "--data", "images:/does/not/exist", "--out", tmp_path / "run")
    assert "already contains a run: go on with --resume, replace it with --overwrite" in message
    refused(*given, "--steps", 2, "--overwrite", "--option", "train.batch_size=0")
    assert sdekit(*given, "--steps", 2, "--overwrite").code == 0
    assert [p.name for p in (tmp_path / "run" / "previews").iterdir()] == ["step-0000002.png"]


def test_resume_finished_run_says_nothing_new(sdekit: CLI, tmp_path: Path) -> None:
    """Resuming a finished run changes nothing; --steps lengthens it."""
    given = ("--data", "moons", *TINY_MLP)
    sdekit("train", "--out", tmp_path / "run", "--steps", 2, *given)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert sdekit("train", "--out", tmp_path / "run", "--resume").code == 0
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
    assert sdekit("train", "--out", tmp_path / "run", "--resume", "--steps", 5).code == 0
    assert load_run(tmp_path / "run").step == 5


def test_resume_with_moved_data(sdekit: CLI, refused: Callable[..., str], pictures: Path, tmp_path: Path) -> None:
    """--resume --data goes on with the same items at another path, records the path, and refuses other items."""
    run, moved, other = tmp_path / "run", tmp_path / "moved", tmp_path / "other"
    shutil.copytree(pictures, other)
    for i, path in enumerate(sorted(other.rglob("*.png"))):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(path)
    assert sdekit("train", "--data", f"images:{pictures}", "--out", run, "--steps", 1, *TINY_UNET).code == 0
    pictures.rename(moved)
    resume = ("train", "--out", run, "--resume", "--steps", 2)
    assert "continue the training with --resume --data images:PATH" in refused(*resume)
    message = refused(*resume, "--data", f"images:{other}")
    assert f"'images:{other}' are not what the run was trained on" in message
    assert sdekit(*resume, "--data", f"images:{moved}").code == 0
    assert load_run(run).step == 2 and load_run(run).recipe.data.name == f"images:{moved}"
    assert sdekit("train", "--out", run, "--resume", "--steps", 3).code == 0


def test_ctrl_c(sdekit: CLI, tmp_path: Path) -> None:
    """SIGINT saves, exits 130 and says how to go on; resumed by that, in a new process, it ends as if never stopped."""
    options = ("network.dropout=0.2", "train.log_every=5", "train.preview_every=0", "data.n=300", "train.batch_size=8")
    given = ("--data", "moons", "--steps", 300, *TINY_MLP, *(x for o in options for x in ("--option", o)))
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = subprocess.Popen(
        [*SDEKIT, "train", *map(str, given), "--out", run], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 100
    while not (run / METRICS).exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130 and "Traceback" not in err and out == ""
    step = load_run(run).step
    assert 5 <= step < 300 and f"stopped at step {step} and saved: go on with" in err
    assert f"sdekit train --out {run} --resume" in err
    done = subprocess.run(
        [*SDEKIT, "train", "--out", run, "--resume", "--json"], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0 and json.loads(done.stdout)["finished"] is True
    assert sdekit("train", *given, "--out", whole).code == 0
    assert same_tensors(run, whole)
    losses = [[(r["step"], r["loss"]) for r in read_metrics(p) if "loss" in r] for p in (run, whole)]
    assert losses[0] == losses[1] and len(losses[0]) == 60


def test_file_size_limit(sdekit: CLI, tmp_path: Path) -> None:
    """A real write that fails half-way: exit 1, one message, and the run as last saved still loads and resumes."""
    run = tmp_path / "run"
    assert sdekit("train", "--data", "moons", "--out", run, "--steps", 3, *TINY_MLP).code == 0
    before = {name: (run / name).read_bytes() for name in (MODEL, CHECKPOINT)}
    most = len(before[CHECKPOINT]) // 2
    done = subprocess.run(
        [*SDEKIT, "train", "--out", run, "--resume", "--steps", "6"],
        capture_output=True,
        text=True,
        timeout=200,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("error:") == 1 and f"could not save {run / CHECKPOINT}: File too large" in done.stderr
    assert {name: (run / name).read_bytes() for name in before} == before
    assert list(run.rglob("*.partial")) == [] and load_run(run).step == 3
    assert sdekit("train", "--out", run, "--resume").code == 0 and load_run(run).step == 6


def test_failure_while_running(sdekit: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that is not finite is exit 1 with one message and no traceback."""
    from sdekit.training import Denoising

    loss, calls = Denoising.loss, []

    def failing(self: Denoising, model: Any, inputs: Any) -> Any:
        calls.append(model.training)
        return loss(self, model, inputs) * (float("nan") if sum(calls) == 3 else 1.0)

    monkeypatch.setattr(Denoising, "loss", failing)
    result = sdekit(
        "train", "--data", "moons", "--out", tmp_path / "run", "--steps", 5, *TINY_MLP, "--checkpoint-every", 2
    )
    assert result.code == 1 and result.err.count("error:") == 1
    assert "the loss is nan at step 3" in result.err and "step 2, is kept" in result.err
    assert load_run(tmp_path / "run").step == 2
