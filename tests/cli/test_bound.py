"""`sdekit bound`: the parts of the bound, its table of terms, bits per dimension, and refused input."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CLI = Callable[..., Any]


def column(path: Path, name: str) -> np.ndarray:
    """A column of a CSV file."""
    with open(path, encoding="utf-8", newline="") as file:
        return np.array([float(row[name]) for row in csv.DictReader(file)])


@pytest.mark.parametrize("steps", [None, 30], ids=["continuous", "30 steps"])
def test_the_parts_add_up(sdekit: CLI, moons_run: Path, tmp_path: Path, steps: int | None) -> None:
    """The bound is L_T + diffusion + L_0, the table of terms adds up to the diffusion, and errors are reported."""
    out = tmp_path / "a"
    given = ("-n", 20, "--times", 8, *(() if steps is None else ("--steps", steps)))
    result = sdekit("bound", moons_run, *given, "--out", out, "--json")
    assert result.code == 0, result.err
    record = json.loads(result.out)
    parts = record["prior_term"] + record["diffusion_term"] + record["reconstruction_term"]
    assert parts == pytest.approx(record["bound"]) and record["bound"] == pytest.approx(
        column(out / "bound.csv", "bound").mean()
    )
    assert record["interval_95"][0] < record["bound"] < record["interval_95"][1] and record["time_error"] > 0
    assert column(out / "terms.csv", "nats").sum() == pytest.approx(record["diffusion_term"])
    assert len(column(out / "terms.csv", "nats")) == (30 if steps is None else steps - 1)
    assert (np.diff(column(out / "terms.csv", "t_from")) > 0).all()
    assert "bits_per_dim" not in record and record["units"] == "the data"
    with Image.open(out / "terms.png") as plot:
        assert plot.width > 300


def test_the_batch_size_changes_nothing(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """Times and noise of an item depend on the item alone."""
    for size in (2, 7):
        given = ("-n", 7, "--times", 2, "--batch-size", size, "--out", tmp_path / str(size))
        assert sdekit("bound", moons_run, *given).code == 0
    values = [column(tmp_path / size / "bound.csv", "bound") for size in ("2", "7")]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_bits_per_dimension(sdekit: CLI, digits_run: Path, moons_run: Path, tmp_path: Path) -> None:
    """Bins of whole numbers give bits per dimension; continuous data are refused with the reason."""
    given = ("-n", 2, "--times", 2, "--bin-width", 1, "--out")
    result = sdekit("bound", digits_run, *given, tmp_path / "a")
    assert result.code == 0 and "bits/dim" in result.out, result.err
    record = json.loads((tmp_path / "a" / "bound.json").read_text())
    assert record["bits_per_dim"] == pytest.approx(record["bound"] / (64 * np.log(2)))
    result = sdekit("bound", moons_run, *given, tmp_path / "b")
    assert result.code == 2 and "continuous" in result.err and not (tmp_path / "b" / "bound.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", 1), "steps must be from 2"),
        (("--times", 0), "--times must be at least 1"),
        (("--importance", "even"), "--importance even"),
        (("--bin-width", 0), "--bin-width must be above 0"),
        (("--label", "7"), "7"),
    ],
)
def test_wrong_input_is_refused(
    sdekit: CLI, moons_run: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    """One message names the problem, and nothing is written."""
    result = sdekit("bound", moons_run, *arguments, "--out", tmp_path / "a")
    assert result.code == 2 and message in result.err and not (tmp_path / "a").exists()
