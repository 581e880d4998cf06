"""`sdekit classify`: predictions, calibration, both methods, continuation after a kill, and refused input."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLI = Callable[..., Any]


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def points(folder: Path, n: int = 8, **others: object) -> Path:
    """Points near the two moons, of which every second one belongs to the second, in an .npz file with labels."""
    angle = np.pi * np.linspace(0.2, 0.8, n)
    second = np.arange(n) % 2 == 1
    x = np.where(second, 1 - np.cos(angle), np.cos(angle))
    y = np.where(second, 0.5 - np.sin(angle), np.sin(angle))
    np.savez(folder / "points.npz", **{"x": np.stack([x, y], 1).astype(np.float32), "y": second.astype(int)} | others)
    return folder / "points.npz"


def test_classify_predicts_and_calibrates(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """The files agree with each other: accuracy, confusion matrix, probabilities of the rows, and a picture."""
    result = sdekit("classify", moons_run, "--all", "--rounds", 4, "--out", tmp_path / "a", "--json")
    assert result.code == 0, result.err
    record, table = json.loads((tmp_path / "a" / "classify.json").read_text()), rows(tmp_path / "a" / "classify.csv")
    correct = np.mean([row["label"] == row["predicted"] for row in table])
    assert json.loads(result.out)["accuracy"] == record["accuracy"] == pytest.approx(correct) and correct > 0.7
    assert record["accuracy_error"] == pytest.approx((correct * (1 - correct) / len(table)) ** 0.5)
    assert np.trace(record["confusion"]) == round(correct * len(table)) and np.sum(record["confusion"]) == len(table)
    for row in table:
        chances = [float(row["p_0"]), float(row["p_1"])]
        assert sum(chances) == pytest.approx(1, abs=1e-5) and row["predicted"] == str(int(np.argmax(chances)))
        assert float(row["log_odds_error"]) > 0 and int(row["evaluations"]) in (2 * 3 * 7, 2 * 4 * 7)
    assert record["temperature"] > 0 and 0 <= record["calibration_error"] < 0.5
    assert (tmp_path / "a" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "a" / "classify.partial.csv").exists()


def test_exact_likelihoods_classify(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """The exact method predicts the same classes, without an error of probes in two dimensions."""
    result = sdekit("classify", moons_run, "-n", 5, "--method", "nll", "--tolerance", 1e-2, "--out", tmp_path / "a")
    assert result.code == 0 and "% correct" in result.out, result.err
    table = rows(tmp_path / "a" / "classify.csv")
    assert len(table) == 5 and all(float(row["log_odds_error"]) == 0 for row in table)


def test_data_without_labels(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """Items without labels are classified at a given temperature; an unknown accuracy is not reported."""
    np.save(tmp_path / "points.npy", np.load(points(tmp_path))["x"])
    given = ("classify", moons_run, "--data", f"array:{tmp_path / 'points.npy'}", "--rounds", 3)
    result = sdekit(*given, "--prior", "0=0.9,1=0.1", "--temperature", 3, "--out", tmp_path / "a")
    assert result.code == 0 and "correct" not in result.out, result.err
    record, table = json.loads((tmp_path / "a" / "classify.json").read_text()), rows(tmp_path / "a" / "classify.csv")
    assert record["prior"] == {"0": 0.9, "1": pytest.approx(0.1)} and record["temperature"] == 3
    assert "accuracy" not in record and not (tmp_path / "a" / "confusion.png").exists()
    assert [row["label"] for row in table] == [""] * 8
    result = sdekit(*given, "--out", tmp_path / "b")
    assert result.code == 0 and "not calibrated" in result.err
    favoured = [float(row["p_0"]) for row in rows(tmp_path / "a" / "classify.csv")]
    assert np.mean(favoured) > np.mean([float(row["p_0"]) for row in rows(tmp_path / "b" / "classify.csv")])


def test_the_batch_size_changes_nothing_and_a_killed_command_continues(
    sdekit: CLI, moons_run: Path, tmp_path: Path
) -> None:
    """Rows of an interrupted command are kept, and the result is the same as without the interruption."""
    from sdekit_cli.likelihood import partial_rows

    given = ("classify", moons_run, "-n", 6, "--rounds", 3)
    assert sdekit(*given, "--out", tmp_path / "whole").code == 0
    original = partial_rows.PartialRows.add

    def add_then_stop(self: partial_rows.PartialRows, new: Any) -> None:
        original(self, new)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial_rows.PartialRows, "add", add_then_stop)
        assert sdekit(*given, "--batch-size", 2, "--out", tmp_path / "parts").code == 130
    partial = tmp_path / "parts" / "classify.partial.csv"
    assert len(partial.read_text().splitlines()) == 2 + 2
    assert "other options" in sdekit(*given, "--significance", 0, "--out", tmp_path / "parts").err
    assert sdekit(*given, "--batch-size", 3, "--out", tmp_path / "parts").code == 0 and not partial.exists()
    expected, found = (rows(tmp_path / name / "classify.csv") for name in ("whole", "parts"))
    for one, other in zip(expected, found, strict=True):
        assert float(one["p_0"]) == pytest.approx(float(other["p_0"]), abs=1e-4)
    given = ("classify", moons_run, "-n", 2, "--rounds", 2, "--out", tmp_path / "whole")
    before = (tmp_path / "whole" / "classify.csv").read_bytes()
    result = sdekit(*given)
    assert result.code == 2 and "--overwrite" in result.err
    assert (tmp_path / "whole" / "classify.csv").read_bytes() == before
    assert sdekit(*given, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "votes"), "choose bound or nll"),
        (("--rounds", 1), "--rounds must be at least 2"),
        (("--significance", 1), "--significance"),
        (("--probes", 4), "applies to --method nll"),
        (("--method", "nll", "--probes", 1), "--probes must be at least 2"),
        (("--method", "nll", "--tolerance", 1e-9), "float64"),
        (("--prior", "0.5"), "1 numbers for 2 classes"),
        (("--prior", "0=0.5,cat=0.5"), "there is no class 'cat'"),
        (("--prior", "0.5,-0.5"), "at least 0"),
        (("--prior", "many"), "expected uniform, data"),
        (("--temperature", "0"), "--temperature 0"),
        (("--batch-size", 0), "--batch-size"),
        (("--data", "digits"), "(1, 8, 8)"),
        (("--data", "rings"), "has the label 2, which"),
        (("--data", "checkerboard", "--temperature", "fit"), "checkerboard has no labels"),
    ],
)
def test_wrong_input_is_refused(
    refused: Callable[..., str], moons_run: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    """One message names the problem, and nothing is written."""
    assert message in refused("classify", moons_run, "-n", 4, *arguments, "--out", tmp_path / "a")


def test_unsuitable_models_and_data_are_refused(
    refused: Callable[..., str], digits_run: Path, numbers_run: Path, moons_run: Path, tmp_path: Path
) -> None:
    """A model without classes, an unknown class, other units, and a NaN in the last row are named."""
    assert "without a condition" in refused("classify", digits_run, "--out", tmp_path / "a")
    assert "on numbers" in refused("classify", numbers_run, "--out", tmp_path / "a")
    file = points(tmp_path, y=np.arange(8) % 2 * 7)
    message = refused("classify", moons_run, "--data", f"array:{file}", "--out", tmp_path / "a")
    assert "item 1 has the label 7" in message and "its classes are 0, 1" in message
    x = np.load(file)["x"]
    message = refused("classify", moons_run, "--data", f"array:{points(tmp_path, x=x * 1000)}", "--out", tmp_path / "a")
    assert "but the data of" in message and "rescale" in message
    x[7, 1] = np.nan
    message = refused("classify", moons_run, "--data", f"array:{points(tmp_path, x=x)}", "--out", tmp_path / "a")
    assert "nan" in message and "7" in message


def test_the_prior_of_the_training_data(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """--prior data is the share of each class among the training items."""
    out = tmp_path / "a"
    assert sdekit("classify", moons_run, "-n", 2, "--rounds", 2, "--prior", "data", "--out", out).code == 0
    prior = json.loads((out / "classify.json").read_text())["prior"]
    assert sum(prior.values()) == pytest.approx(1) and 0.4 < prior["0"] < 0.6
