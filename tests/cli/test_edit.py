"""`sdekit edit`: closeness to the image, solvers, grids and guidances, and refused options."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.distributed import World
from sdekit_cli.sampling.session import SamplingSession

CLI = Callable[..., Any]


def test_edit(sdekit: CLI, digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """With little noise the samples stay close to the image; the record contains the time."""
    for name, strength in {"near": 0.05, "far": 0.9}.items():
        given = ("--image", clean, "--strength", strength, "-n", 3, "--steps", 4, "--out", tmp_path / name)
        assert sdekit("edit", digits_run, *given).code == 0
    near, far = (np.load(tmp_path / name / "samples.npy") for name in ("near", "far"))
    assert abs(near - np.load(clean)).mean() < 1.5 < abs(far - np.load(clean)).mean()
    record = json.loads((tmp_path / "far" / "edit.json").read_text())
    assert record["nfe"] == 4 and record["strength"] == 0.9 and record["t"] == record["times"][0]
    assert {"before-after.png", "grid.png", "samples.npy"} <= set(os.listdir(tmp_path / "far"))
    given = ("--image", clean, "--t", 0.3, "-n", 1, "--steps", 2, "--solver", "ddpm", "--out", tmp_path / "t", "--json")
    result = sdekit("edit", digits_run, *given)
    assert result.code == 0 and json.loads(result.out)["t"] == pytest.approx(0.3)


def test_the_solver_is_recorded(sdekit: CLI, digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """The record contains the solver with all of its options."""
    given = (
        "--image",
        clean,
        "-n",
        1,
        "--steps",
        2,
        "--solver",
        "ddim",
        "--option",
        "eta=0.7",
        "--out",
        tmp_path / "e",
    )
    assert sdekit("edit", digits_run, *given).code == 0
    record = json.loads((tmp_path / "e" / "edit.json").read_text())
    assert record["solver"] == "ddim" and record["options"]["eta"] == 0.7


def test_help_tells_the_default(sdekit: CLI) -> None:
    told = " ".join(sdekit("edit", "--help").out.replace("│", " ").split())
    assert "at 0.5, the default, it is as strong as the signal" in told and "(0.5)" not in told


def test_edit_refusals(refused: Callable[..., str], digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """Values out of range and conflicting options are refused."""
    given = ("edit", digits_run, "--image", clean, "--out", tmp_path / "e")
    assert "strength must be above 0 and at most 1" in refused(*given, "--strength", 1.5)
    assert "t must be above" in refused(*given, "--t", 7)
    assert "--strength or --t, not both" in refused(*given, "--t", 0.5, "--strength", 0.5)
    assert "--steps must be at least 1" in refused(*given, "--steps", 0)


def test_a_budget_a_grid_and_a_guidance(sdekit: CLI, dropped_run: Path, tmp_path: Path) -> None:
    """--nfe, --grid and --guidance work as in `sample`, on the grid below the time of the image."""
    np.save(tmp_path / "x.npy", np.array([0.5, 0.2]))
    given = ("--image", tmp_path / "x.npy", "-n", 4, "--label", 0, "--solver", "heun", "--nfe", 7, "--grid", "uniform")
    for name, more in {"plain": (), "guided": ("--guidance", "cfg:scale=6")}.items():
        result = sdekit("edit", dropped_run, *given, *more, "--out", tmp_path / name, "--json")
        assert result.code == 0 and json.loads(result.out)["nfe"] == 7
    record = json.loads((tmp_path / "guided" / "edit.json").read_text())
    assert record["guidance"][0]["name"] == "cfg" and record["grid"] == "uniform" and record["labels"] == [0] * 4
    assert record["times"] == pytest.approx(np.linspace(record["t"], record["times"][-1], 4))
    plain, guided = (np.load(tmp_path / name / "samples.npy") for name in ("plain", "guided"))
    assert not np.allclose(plain, guided)


def test_each_process_edits_its_part(
    sdekit: CLI, moons_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two processes draws its part of the seeds, and the samples are those of one process."""
    np.save(tmp_path / "x.npy", np.array([0.5, 0.2]))
    given = ("edit", moons_run, "--image", tmp_path / "x.npy", "--solver", "ddpm", "--steps", 4)
    assert sdekit(*given, "--seeds", "3-7", "--out", tmp_path / "all").code == 0
    parts = []
    for rank in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(SamplingSession, "_part", lambda session, rank=rank: World(rank, 2).part(len(session.seeds)))
            patch.setattr(SamplingSession, "_gather", lambda session, samples: parts.append(samples))
            assert sdekit(*given, "--seeds", "3-7", "--out", tmp_path / "part").code == 0
    assert not (tmp_path / "part").exists() and [part.seeds for part in parts] == [(3, 4, 5), (6, 7)]
    drawn = np.concatenate([part.x.numpy() for part in parts])
    whole = np.load(tmp_path / "all" / "samples.npy")
    units = json.loads((moons_run / "config.json").read_text())["units"]
    np.testing.assert_allclose(drawn * np.array(units["scale"]) + np.array(units["shift"]), whole, atol=1e-4)
