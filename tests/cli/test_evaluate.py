"""`sdekit evaluate`: files, protocol, data, conditions, comparisons and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CLI = Callable[..., Any]
QUICK = ("-n", 40, "--nfe", 3, "--metric", "energy")
METRIC = Path(__file__).parents[2] / "examples" / "single_files" / "acme_metric.py"


def record(out: Path) -> dict[str, Any]:
    """Read evaluation.json."""
    found: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    return found


def test_a_run_of_images(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """It writes the record with the protocol, samples and pictures, and prints a table."""
    out = tmp_path / "e"
    metrics = ("--metric", "energy", "--metric", "frechet", "--metric", "coverage:k=3")
    result = sdekit("evaluate", digits_run, "-n", 40, "--nfe", 3, *metrics, "--out", out)
    assert result.code == 0, result.err
    assert (
        "Frechet distance (raw)" in " ".join(result.out.split())
        and "40 samples against 40 held-out items" in result.err
    )
    found = record(out)
    assert found["seeds"] == list(range(40)) and found["metrics"][2]["options"] == {"k": 3}
    protocol = found["protocol"]
    assert protocol["reference"] == "held-out items of digits" and protocol["rounded_like_data"]
    assert protocol["solver"] == "auto" and protocol["network_evaluations"] == 3 and protocol["versions"]["sdekit"]
    assert found["memorization"]["training_n"] > 1600 and not found["memorization"]["flagged"]
    assert np.load(out / "samples.npy").shape == (40, 1, 8, 8)
    assert Image.open(out / "comparison.png").width > Image.open(out / "comparison.png").height
    assert Image.open(out / "nearest.png").size[0] > 600


def test_given_samples_and_batches(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """Samples of `sdekit sample` give the same numbers as drawing them, with any batch size."""
    numbers = []
    assert sdekit("sample", digits_run, "-n", 40, "--nfe", 3, "--out", tmp_path / "s").code == 0
    for i, how in enumerate((("--batch-size", 40), ("--batch-size", 7), ("--samples", tmp_path / "s"))):
        result = sdekit("evaluate", digits_run, *QUICK, *how, "--out", tmp_path / f"e{i}", "--json")
        assert result.code == 0, result.err
        assert json.loads(result.out)["file"] == str(tmp_path / f"e{i}" / "evaluation.json")
        numbers.append(record(tmp_path / f"e{i}")["metrics"][0]["value"])
    assert numbers == pytest.approx([numbers[0]] * 3, abs=1e-6)


def test_conditions_occur_as_in_the_data(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """A model of labels receives the labels of random training items, or those of --label."""
    for out, how, text in (("a", (), "as in the data"), ("b", ("--label", 1), None)):
        assert sdekit("evaluate", moons_run, *QUICK, *how, "--out", tmp_path / out).code == 0
        protocol = record(tmp_path / out)["protocol"]
        assert protocol["condition"] == text and protocol["conditioned"]


def test_a_table(sdekit: CLI, numbers_run: Path, tmp_path: Path) -> None:
    """A table has metrics for its columns by name; the folder is that of the run by default, and is not replaced."""
    arguments = ("evaluate", numbers_run, "-n", 40, "--nfe", 3, "--metric", "ks", "--metric", "correlations")
    assert sdekit(*arguments).code == 0
    found = record(numbers_run / "evaluation")
    assert found["columns"].keys() == {"x", "z"} and found["protocol"]["condition"] == "as in the data"
    assert Image.open(numbers_run / "evaluation" / "comparison.png").size[0] > 300
    again = sdekit(*arguments)
    assert again.code == 2 and "--overwrite" in again.err
    assert sdekit(*arguments, "--overwrite").code == 0
    other = tmp_path / "other.csv"
    other.write_text("x,y,w\n" + "\n".join(f"{i},{i % 7},{100 + i}" for i in range(50)))
    data = ("--data", f"table:{other}", "--option", "data.condition=w")
    result = sdekit("evaluate", numbers_run, *QUICK, *data, "--out", tmp_path / "e")
    assert result.code == 2 and "has the columns x, y, but" in result.err and "was trained on x, z" in result.err


def test_comparisons(sdekit: CLI, moons_run: Path, dropped_run: Path, tmp_path: Path) -> None:
    """Another run or solver is compared on the same seeds, and a metric of a plugin has interval and floor."""
    how = ("-n", 40, "--nfe", 3, "--metric", "acme-energy", "--plugin", METRIC)
    for name, against in (("a", ("--against", dropped_run)), ("b", ("--against-solver", "ddim"))):
        result = sdekit("evaluate", moons_run, *how, *against, "--out", tmp_path / name)
        assert result.code == 0, result.err
        found = record(tmp_path / name)
        (difference,) = found["differences"]
        assert difference["low"] <= difference["difference"] <= difference["high"]
        assert found["metrics"][0]["low"] < found["metrics"][0]["high"] and found["metrics"][0]["floor"] is not None


def test_an_export(sdekit: CLI, moons_run: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    """An export has no folder of results, and the data of its run are the default."""
    export = tmp_path / "export"
    assert sdekit("export", moons_run, "--out", export, "--format", "safetensors").code == 0
    assert "is not a run folder: add --out FOLDER" in refused("evaluate", export, *QUICK)
    assert sdekit("evaluate", export, *QUICK, "--out", tmp_path / "e").code == 0
    assert record(tmp_path / "e")["protocol"]["data"] == "moons"


def test_bad_input(refused: Callable[..., str], digits_run: Path, moons_run: Path, tmp_path: Path) -> None:
    """Every mistake is one message that names both sides, and nothing is written."""
    out = ("--out", tmp_path / "e")
    (tmp_path / "nan.npy").write_bytes(b"")
    np.save(tmp_path / "nan.npy", np.full((3, 2), np.nan, np.float32))
    np.save(tmp_path / "wide.npy", np.zeros((5, 3), np.float32))
    np.save(tmp_path / "loud.npy", np.full((5, 1, 8, 8), 255, np.float32))
    np.save(tmp_path / "gap.npy", np.where(np.arange(20).reshape(10, 2) == 7, np.nan, 1.0).astype(np.float32))
    run = ("evaluate", moons_run, *QUICK, *out)
    cases = [
        (("evaluate", digits_run, *QUICK, *out, "--data", "moons"), "moons has items of shape (2,), but the data of"),
        (
            ("evaluate", digits_run, *QUICK, *out, "--data", f"array:{tmp_path / 'loud.npy'}"),
            "contains numbers from 255",
        ),
        ((*run, "--samples", tmp_path / "nan.npy"), "sample 0 contains a number that is not finite"),
        ((*run, "--samples", tmp_path / "wide.npy"), "samples of shape (3,), but the data of"),
        ((*run, "--samples", tmp_path / "none"), "does not exist"),
        ((*run, "--metric", "enrgy"), "no metric 'enrgy'; did you mean 'energy'?"),
        ((*run, "--metric", "coverage:j=1"), "no option of metric 'coverage' named 'j'"),
        ((*run, "--features", "rwa"), "no features 'rwa'; did you mean 'raw'?"),
        ((*run, "--features", "classifier"), "--features classifier:run=FOLDER"),
        ((*run, "--features", f"classifier:run={moons_run}"), "is not a classifier"),
        ((*run, "--against", moons_run, "--against-solver", "ddim"), "choose one"),
        ((*run, "--against", tmp_path / "no"), "no such"),
        (("evaluate", moons_run, "-n", 3, "--nfe", 3, *out, "--metric", "precision"), "at least 12 samples, got 3"),
    ]
    for arguments, words in cases:
        assert words in refused(*arguments), words


def test_features_of_a_classifier(sdekit: CLI, digits_run: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    """The features of the run's classifier name the distance."""
    judge = tmp_path / "judge"
    options = ("--option", "network.width=8", "--option", "network.depth=1")
    assert sdekit("train-classifier", digits_run, "--out", judge, "--steps", 2, *options).code == 0
    how = ("-n", 40, "--nfe", 3, "--metric", "frechet", "--features", f"classifier:run={judge}")
    assert sdekit("evaluate", digits_run, *how, "--out", tmp_path / "e").code == 0
    (row,) = record(tmp_path / "e")["metrics"]
    assert row["title"] == "Frechet distance (classifier judge)" and row["extractor"] == "classifier judge"
