"""`sdekit sample`: the files, their units, and one seed per sample."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdekit import registry
from sdekit.errors import InputError
from sdekit.runs import load_json, load_run
from sdekit.sampling import sample
from sdekit_cli.options.shared_options import parse_seeds

CLI = Callable[..., Any]
SAMPLERS = registry.component_names("sampler")
LOOSE = {"ode": ("--option", "rtol=1e-3", "--option", "atol=1e-3")}
FIELDS = {
    "run", "run_step", "solver", "options", "grid", "grid_options", "steps", "nfe", "n", "seeds", "labels",
    "label_names", "times", "tuned", "noise",
    "condition", "guidance", "backend", "processes", "seconds", "far_outside_range", "training",
    "device", "plugins", "versions", "sha256",
}  # fmt: skip


def drawn(folder: Path) -> np.ndarray:
    """Read samples.npy."""
    found: np.ndarray = np.load(folder / "samples.npy", allow_pickle=False)
    return found


def test_record_is_compact(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """The seeds, labels and times of many samples take one line each."""
    assert sdekit("sample", moons_run, "--steps", 4, "-n", 300, "--out", tmp_path / "s").code == 0
    text = (tmp_path / "s" / "sample.json").read_text()
    assert load_json(tmp_path / "s" / "sample.json")["seeds"] == list(range(300))
    assert len(text.splitlines()) < 60 and '\n  "seeds": [0, 1, 2,' in text


@pytest.mark.parametrize("name", SAMPLERS)
def test_images(sdekit: CLI, digits_run: Path, tmp_path: Path, name: str) -> None:
    """Every sampler writes float32 samples in data units, the record and pictures of the right size."""
    out = tmp_path / "s"
    result = sdekit("sample", digits_run, "--out", out, "-n", 3, "--steps", 3, "--solver", name, *LOOSE.get(name, ()))
    assert result.code == 0 and result.out == "" and str(out / "grid.png") in result.err
    assert drawn(out).shape == (3, 1, 8, 8) and drawn(out).dtype == np.float32
    record = json.loads((out / "sample.json").read_text())
    assert record.keys() == FIELDS and record["solver"] == name and record["seeds"] == [0, 1, 2]
    assert record["steps"] == len(record["times"]) == 3 and record["nfe"] >= 3 and record["run_step"] == 4
    assert record["options"].keys() == registry.parameters(registry.find_component("sampler", name).load()).keys()
    assert Image.open(out / "grid.png").size == (134, 134)
    assert sorted(os.listdir(out / "images")) == ["0.png", "1.png", "2.png"]
    pixels = np.rint((drawn(out) / 16).clip(0, 1) * 255)[2, 0]
    assert np.array_equal(np.asarray(Image.open(out / "images" / "2.png")), pixels)


def test_auto_is_told_how_large_the_data_are(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """The sampler and its grid receive the run's data_std, unless the user sets it."""
    std = load_run(digits_run).recipe.data_std
    records = {}
    for name, given in (("run", ()), ("same", ("--option", f"data_std={std}")), ("grid", ("--grid", "auto"))):
        solver = () if name == "grid" else ("--solver", "auto")
        out = tmp_path / name
        assert sdekit("sample", digits_run, *solver, "--nfe", 5, *given, "-n", 1, "--out", out).code == 0
        records[name] = json.loads((out / "sample.json").read_text())
    assert std != 1 and all(record["options"]["data_std"] == std for record in records.values())
    assert records["grid"]["grid_options"] == {"data_std": std}
    assert records["run"]["times"] == records["same"]["times"] == records["grid"]["times"]
    sdekit(
        "sample", digits_run, "--nfe", 5, "--solver", "auto", "--option", "data_std=3", "-n", 1, "--out", tmp_path / "3"
    )
    other = json.loads((tmp_path / "3" / "sample.json").read_text())
    assert other["options"]["data_std"] == 3 and other["times"] != records["run"]["times"]


def test_noise(sdekit: CLI, refused: Callable[..., str], digits_run: Path, tmp_path: Path) -> None:
    """--noise brownian draws another path from the same start and is recorded; deterministic samplers refuse it."""
    given = ("sample", digits_run, "--solver", "ddpm", "--steps", 4, "-n", 2)
    for noise in ("seed", "brownian"):
        assert sdekit(*given, "--noise", noise, "--out", tmp_path / noise).code == 0
        assert json.loads((tmp_path / noise / "sample.json").read_text())["noise"] == noise
    sdekit(*given, "--out", tmp_path / "default")
    assert np.array_equal(drawn(tmp_path / "default"), drawn(tmp_path / "seed"))
    assert not np.allclose(drawn(tmp_path / "brownian"), drawn(tmp_path / "seed"), atol=0.1)
    assert "choose seed or brownian" in refused(*given, "--noise", "white", "--out", tmp_path / "none")
    message = refused("sample", digits_run, "--solver", "heun", "--noise", "brownian", "--out", tmp_path / "none")
    assert "Heun draws no noise" in message and not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["ddpm", "ode", "unipc", "pc", "adaptive-sde", "restart"])
def test_seed_alone_is_seed_in_a_batch(sdekit: CLI, digits_run: Path, tmp_path: Path, name: str) -> None:
    """The sample of seed 17 is the same alone, in batches of 8, and in another order, to 1e-5 of the largest number."""
    given = ("sample", digits_run, "--steps", 4, "--solver", name, *LOOSE.get(name, ()))
    sdekit(*given, "-n", 20, "--batch-size", 8, "--out", tmp_path / "all")
    sdekit(*given, "--seeds", "17", "--out", tmp_path / "one")
    sdekit(*given, "--seeds", "17,3-5", "--out", tmp_path / "some")
    everything, some = drawn(tmp_path / "all") / 16, drawn(tmp_path / "some") / 16
    tolerance = 1e-5 if name != "ode" else 1e-4  # the step size follows the error, which follows the rounding
    tolerance *= max(1.0, float(abs(everything).max()))
    np.testing.assert_allclose(drawn(tmp_path / "one")[0] / 16, everything[17], atol=tolerance)
    np.testing.assert_allclose(some, everything[[17, 3, 4, 5]], atol=tolerance)
    assert os.listdir(tmp_path / "one" / "images") == ["17.png"]


@pytest.mark.parametrize(
    ("given", "solver"),
    [
        ((), "auto"),
        (("--nfe", 6), "auto"),
        (("--steps", 6), "auto"),
        (("--nfe", 6, "--grid", "karras"), "auto"),
        (("--nfe", 6, "--option", "points=5"), "auto"),
        (("--nfe", 6, "--solver", "ddim"), "ddim"),
    ],
)
def test_the_default_solver_is_auto(
    sdekit: CLI, digits_run: Path, tmp_path: Path, given: tuple[object, ...], solver: str
) -> None:
    """Without --solver, it is auto, with 30 network evaluations or the number of the user."""
    assert sdekit("sample", digits_run, "-n", 2, *given, "--out", tmp_path / "s").code == 0
    record = json.loads((tmp_path / "s" / "sample.json").read_text())
    assert record["solver"] == solver and record["nfe"] == (6 if given else 30)


def test_whose_option_it_is(refused: Callable[..., str], digits_run: Path, tmp_path: Path) -> None:
    """An unknown option is refused with the name of the default solver."""
    message = refused("sample", digits_run, "--option", "eta=0.5", "--out", tmp_path / "s")
    assert "named 'eta'" in message and "The solver is auto without --solver" in message
    message = refused("sample", digits_run, "--solver", "heun", "--option", "eta=0.5", "--out", tmp_path / "s")
    assert "of sampler 'heun' named 'eta'" in message and "without --solver" not in message


def test_same_as_the_library(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """The command draws the samples of `sdekit.sample`, mapped to the units of the data (pixels from 0 to 16)."""
    given = ("--solver", "ddim", "--option", "eta=0.5", "--grid", "karras", "--option", "grid.p=3", "--nfe", 5)
    assert sdekit("sample", digits_run, "-n", 4, *given, "--out", tmp_path / "s").code == 0
    run, grid = load_run(digits_run), registry.build("grid", "karras", p=3.0)
    found = sample(
        run.model.sde, run.model, registry.build("sampler", "ddim", eta=0.5), shape=(1, 8, 8), n=4, nfe=5, grid=grid
    )
    np.testing.assert_allclose(drawn(tmp_path / "s"), found.x.numpy() * 8 + 8, atol=1e-4)
    record = json.loads((tmp_path / "s" / "sample.json").read_text())
    assert record["grid_options"] == {"p": 3.0} and record["nfe"] == 5
    assert record["options"] == {"eta": 0.5, "solver": "torchdiffeq"}


def test_points(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """For 2-D data there is a scatter plot and no image."""
    result = sdekit("sample", moons_run, "--out", tmp_path / "s", "-n", 50, "--solver", "heun", "--steps", 5)
    assert result.code == 0 and drawn(tmp_path / "s").shape == (50, 2)
    assert sorted(os.listdir(tmp_path / "s")) == ["sample.json", "samples.npy", "scatter.png"]
    assert Image.open(tmp_path / "s" / "scatter.png").size == (720, 720)


def test_labels(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """--label draws one class; without it the label of a sample follows from its seed."""
    given = ("sample", moons_run, "--solver", "ddim", "--steps", 4)
    for name, more in {"a": (), "0": ("--label", 0), "1": ("--label", 1)}.items():
        assert sdekit(*given, "--seeds", "4-7", *more, "--out", tmp_path / name).code == 0
    mixed, zero, one = (drawn(tmp_path / name) for name in ("a", "0", "1"))
    assert json.loads((tmp_path / "a" / "sample.json").read_text())["labels"] == [0, 1, 0, 1]
    assert np.abs(zero - one).max() > 1e-3
    np.testing.assert_allclose(mixed, np.where([[True], [False], [True], [False]], zero, one), atol=1e-5)


def test_label_refusals(refused: Callable[..., str], digits_run: Path, moons_run: Path, tmp_path: Path) -> None:
    """A label is refused if it is out of range, or the run has no labels."""
    out = ("--out", tmp_path / "s")
    message = refused("sample", digits_run, "--label", 3, *out)
    assert "was trained without labels: train with --condition label" in message
    for label in (2, -1):
        assert "has the labels 0 to 1" in refused("sample", moons_run, f"--label={label}", *out)


def test_json(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """--json prints exactly one JSON object with the paths of the samples and the picture."""
    result = sdekit("sample", digits_run, "--out", tmp_path / "s", "-n", 2, "--steps", 2, "--solver", "ddpm", "--json")
    fields = json.loads(result.out)
    assert result.err.strip() == "" and fields["n"] == 2 and fields["nfe"] == 2
    assert Path(fields["samples"]).exists() and Path(fields["picture"]).exists()


def test_overwrite(sdekit: CLI, refused: Callable[..., str], digits_run: Path, tmp_path: Path) -> None:
    """Earlier samples are replaced completely, and only with --overwrite; other files are never changed."""
    given = ("sample", digits_run, "--out", tmp_path / "s", "--steps", 2, "--solver", "ddim")
    sdekit(*given, "--seeds", "5")
    assert "already contains samples: choose another folder, or replace them with --overwrite" in refused(
        *given, "-n", 2
    )
    assert sdekit(*given, "-n", 2, "--overwrite").code == 0
    assert sorted(os.listdir(tmp_path / "s" / "images")) == ["0.png", "1.png"]
    (tmp_path / "s" / "mine.txt").write_text("x")
    assert "contains other files (mine.txt, ...)" in refused(*given, "--overwrite")


def test_sample_from_another_process(digits_run: Path, tmp_path: Path, sdekit: CLI) -> None:
    """`python -m sdekit_cli` draws the same array in a new process."""
    given = ("sample", str(digits_run), "--seeds", "0-2", "--steps", "3", "--solver", "pc", "--out")
    done = subprocess.run(
        [sys.executable, "-m", "sdekit_cli", *given, str(tmp_path / "a")], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0 and done.stdout == "" and "drew 3 samples with pc" in done.stderr
    assert sdekit(*given, tmp_path / "b").code == 0
    np.testing.assert_allclose(drawn(tmp_path / "a"), drawn(tmp_path / "b"), atol=1e-5)


@pytest.mark.parametrize(
    ("n", "text", "expected"),
    [
        (None, None, tuple(range(64))),
        (3, None, (0, 1, 2)),
        (None, "5", (5,)),
        (None, "3,17, 20-22", (3, 17, 20, 21, 22)),
    ],
)
def test_seeds(n: int | None, text: str | None, expected: tuple[int, ...]) -> None:
    """Seeds are numbers and ranges in their order, and 64 seeds by default."""
    assert parse_seeds(n, text) == expected


@pytest.mark.parametrize(
    "text", ["", "a", "3-1", "1-", "-3", "1--2", "1,,2", "1.5", "0-2,1", str(2**32), "0-4294967296", "1e3", "9" * 5000]
)
def test_bad_seeds(text: str) -> None:
    """A malformed list of seeds, or one that names a seed twice, is refused and quoted."""
    with pytest.raises(InputError, match=f"--seeds '{text}'"):
        parse_seeds(None, text)


def test_solver_with_options(sdekit: CLI, moons_run: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    """--solver takes options after a colon, and its name in upper case."""
    done = sdekit("sample", moons_run, "--solver", "DDIM:eta=0.5", "--steps", 3, "-n", 2, "--out", tmp_path / "out")
    assert done.code == 0
    record = json.loads((tmp_path / "out" / "sample.json").read_text())
    assert record["solver"] == "ddim" and record["options"]["eta"] == 0.5
    message = refused("sample", moons_run, "--solver", "ddim:eta=1", "--option", "eta=0", "--out", tmp_path / "b")
    assert "option 'eta' of solver ddim is given twice" in message
