"""`sdekit tune`: the stored result, its use by `sample`, and errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdekit.runs import load_run
from sdekit.tuning import Tuned, save_tuned

CLI = Callable[..., Any]
FEW = ("-n", 24, "--held-out", 24)


@pytest.fixture
def moons(moons_run: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be written to."""
    return Path(shutil.copytree(moons_run, tmp_path / "moons"))


def record(folder: Path) -> dict[str, Any]:
    """Read sample.json."""
    loaded: dict[str, Any] = json.loads((folder / "sample.json").read_text())
    return loaded


def test_tune_then_sample(sdekit: CLI, moons: Path, tmp_path: Path) -> None:
    """The result is printed and stored; `sample` then uses it and reports this, except with --grid."""
    before, after, off = (tmp_path / name for name in ("before", "after", "off"))
    draw = ("sample", moons, "--nfe", 5, "-n", 9)
    assert sdekit(*draw, "--out", before).code == 0
    result = sdekit("tune", moons, "--nfe", 5, *FEW)
    assert result.code == 0 and f"sdekit sample {moons} --nfe 5" in result.err.replace("\n", " ")
    head, row = (line.split() for line in result.out.strip().splitlines())
    assert head == ["calls", "untuned", "tuned", "ratio"] and row[0] == "5" and float(row[3]) < 1
    stored = json.loads((moons / "tuned" / "auto-5.json").read_text())
    assert stored["tuned"] < stored["untuned"] and len(stored["gains"]) == 5 and stored["starts"] == 24

    used = sdekit(*draw, "--out", after)
    assert used.code == 0 and "auto, tuned (--grid auto: untuned)" in used.err.replace("\n", " ")
    told = record(after)
    assert told["grid"] == "tuned" and told["nfe"] == told["steps"] == 5 and told["solver"] == "auto"
    assert told["tuned"] == {name: stored[name] for name in ("calls", "starts", "untuned", "tuned")}
    plain = sdekit(*draw, "--grid", "auto", "--out", off)
    assert plain.code == 0 and "tuned" not in plain.err and record(off)["tuned"] is None
    values = [np.load(folder / "samples.npy") for folder in (before, after, off)]
    assert np.array_equal(values[0], values[2]) and not np.allclose(values[0], values[1])


def test_json(sdekit: CLI, moons: Path) -> None:
    """With --json the output is one object with a result for each number of evaluations; here the times alone are
    tuned."""
    given = ("--solver", "heun", "--times-only", "--nfe", 6, "--nfe", 3, "--json")
    result = sdekit("tune", moons, *given, *FEW)
    assert result.code == 0 and result.err == ""
    told = json.loads(result.out)
    assert told["run"] == str(moons) and told["solver"] == "heun"
    assert [one["calls"] for one in told["tuned"]] == [3, 5]
    for one in told["tuned"]:
        assert one["gains"] == [] and one["ratio"] == pytest.approx(one["tuned"] / one["untuned"])
        assert (
            (one["file"] is None) == (one["ratio"] >= 1) == (not (moons / f"tuned/heun-{one['calls']}.json").exists())
        )


def test_fine_solutions_that_take_all_the_time(sdekit: CLI, moons: Path) -> None:
    """If the fine solutions take longer than the time limit, tuning ends at once, without an error."""
    result = sdekit("tune", moons, "--nfe", 5, "-n", 4, "--held-out", 2, "--time-limit", 1e-9, "--json")
    assert result.code == 0 and json.loads(result.out)["tuned"][0]["calls"] == 5, result.err


def test_stale(sdekit: CLI, moons: Path, digits_run: Path, tmp_path: Path) -> None:
    """A result for other weights is not used, and a message says so."""
    found = Tuned(calls=5, levels=(4.0, 1.0, 0.3, 0.1), gains=(), starts=1, untuned=2.0, tuned=1.0)
    save_tuned(moons, "auto", {"points": None, "data_std": load_run(moons).recipe.data_std}, found)
    path = moons / "tuned" / "auto-5.json"
    assert sdekit("sample", moons, "--nfe", 5, "-n", 2, "--out", tmp_path / "a").code == 0
    assert record(tmp_path / "a")["grid"] == "tuned"
    shutil.copytree(digits_run, tmp_path / "digits")
    (tmp_path / "digits" / "tuned").mkdir()
    shutil.copy(path, tmp_path / "digits" / "tuned")
    result = sdekit("sample", tmp_path / "digits", "--nfe", 5, "-n", 2, "--out", tmp_path / "b")
    assert result.code == 0 and "not using the tuned times" in result.err and "other weights" in result.err
    assert record(tmp_path / "b")["grid"] == "auto"


def test_refused(refused: Callable[..., str], moons: Path, tmp_path: Path) -> None:
    """Wrong solvers, numbers and folders are refused."""
    assert "draws noise" in refused("tune", moons, "--solver", "ddpm", "--nfe", 5)
    assert "no fixed number" in refused("tune", moons, "--solver", "ode", "--nfe", 5)
    assert "needs 3 calls" in refused("tune", moons, "--solver", "heun", "--nfe", 5, "--nfe", 2)
    assert "did you mean" in refused("tune", moons, "--solver", "hein", "--nfe", 5)
    assert "at least 2" in refused("tune", moons, "--nfe", 5, "-n", 1)
    assert "no such run folder" in refused("tune", tmp_path / "none", "--nfe", 5)
    assert "--nfe" in refused("tune", moons)


def test_many_calls() -> None:
    """A path of 100 000 evaluations has few parameters, and memory does not grow with the square of its length."""
    from sdekit.registry import build
    from sdekit.tuning.parametrization import Parametrization

    sde = build("sde", "vp")
    times = torch.linspace(sde.t_max, sde.t_min, 100_001, dtype=torch.float64)
    found = Parametrization.of(sde, times, 1, True)
    assert found.weights_basis.shape[0] == 100_001 and found.weights_basis[:, -1].nonzero().tolist() == [[100_000]]
