"""`sdekit ood`: AUROC of tables and images, and refused input."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLI = Callable[..., Any]


def test_ood_of_a_table(sdekit: CLI, dropped_run: Path, moons_run: Path, tmp_path: Path) -> None:
    """Points of another distribution have a higher AUROC than other points of the same; files and record agree."""
    small = ("--option", "n=300", "-n", 24, "--levels", 4, "--draws", 2, "--json")
    far = ("--against", "checkerboard", "--against-option", "n=60")
    result = sdekit("ood", dropped_run, "--data", "moons", *far, *small, "--out", tmp_path / "a")
    assert result.code == 0, result.err
    record = json.loads((tmp_path / "a" / "ood.json").read_text())
    assert json.loads(result.out)["auroc"] == record["auroc"]
    low, high = record["auroc_interval"]
    assert low < record["auroc"] < high or record["auroc"] == 1
    with open(tmp_path / "a" / "ood.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    inside, outside = ([float(row["score"]) for row in table if row["set"] == name] for name in ("data", "against"))
    pairs = [(b > a) + 0.5 * (b == a) for a in inside for b in outside]
    assert len(inside) == len(outside) == 24 and record["auroc"] == pytest.approx(np.mean(pairs), abs=1e-3)
    assert all(0 < float(row["p_value"]) <= 1 for row in table)
    assert (tmp_path / "a" / "histogram.png").read_bytes().startswith(b"\x89PNG")
    same = ("--against", "moons", "--against-option", "seed=1", "--against-option", "n=60")
    result = sdekit("ood", moons_run, "--data", "moons", *same, *small, "--batch-size", 20, "--out", tmp_path / "b")
    assert result.code == 0, result.err
    other = json.loads(result.out)
    assert other["auroc_interval"][0] < 0.55 and other["auroc"] < record["auroc"]


def test_ood_of_images(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """Digits with shuffled pixels are separated from digits, in files of another layout; batches change nothing."""
    from sklearn.datasets import load_digits

    images = load_digits().images[:40].reshape(40, 64)
    shuffled = np.random.default_rng(0).permuted(images, axis=1).reshape(40, 8, 8)
    np.save(tmp_path / "shuffled.npy", shuffled)
    small = ("-n", 20, "--levels", 2, "--draws", 1)
    given = ("ood", digits_run, "--against", f"array:{tmp_path / 'shuffled.npy'}", *small)
    records = []
    for name, size in (("a", 64), ("b", 15)):
        result = sdekit(*given, "--batch-size", size, "--json", "--out", tmp_path / name)
        assert result.code == 0, result.err
        records.append(json.loads(result.out))
    assert records[0]["auroc"] == pytest.approx(records[1]["auroc"], abs=0.01)
    assert records[0]["n"] == 20 and records[0]["data"] == "digits"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "digits"), "(1, 8, 8)"),
        (("--against", "checkerboard", "-n", 5), "at least 16"),
        (("--against", "checkerboard", "--levels", 0), "--levels must be at least 1"),
        (("--against", "checkerbord"), "checkerboard"),
        (("--against", "checkerboard", "--dtype", "half"), "--dtype half"),
    ],
)
def test_wrong_input_is_refused(
    refused: Callable[..., str], moons_run: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    """One message names the problem, and nothing is written."""
    assert message in refused("ood", moons_run, "--data", "moons", *arguments, "--out", tmp_path / "a")
