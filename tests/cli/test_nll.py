"""`sdekit nll`: values, errors, bits per dimension, continuation after a kill, and refused input."""

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


def test_nll_reports_a_value_and_its_errors(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """The record contains the mean of the rows, its standard error and the protocol."""
    result = sdekit("nll", moons_run, "-n", 12, "--out", tmp_path / "a", "--json")
    assert result.code == 0, result.err
    record = json.loads(result.out)
    table = rows(tmp_path / "a" / "nll.csv")
    values = np.array([float(row["nll"]) for row in table])
    assert len(table) == 12 and record["nll"] == pytest.approx(values.mean())
    assert record["standard_error"] == pytest.approx(values.std(ddof=1) / 12**0.5)
    low, high = record["interval_95"]
    assert high - low == pytest.approx(2 * 2.200985 * record["standard_error"]) and record["units"] == "the data"
    assert record["trace"].startswith("ExactTrace") and record["evaluations"] > 10
    assert not (tmp_path / "a" / "nll.partial.csv").exists()


def test_the_batch_size_changes_nothing_and_a_killed_command_continues(
    sdekit: CLI, moons_run: Path, tmp_path: Path
) -> None:
    """Rows of an interrupted command are kept, and the result is the same as without the interruption."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert sdekit("nll", moons_run, "-n", 6, "--out", whole).code == 0
    assert sdekit("nll", moons_run, "-n", 6, "--out", parts, "--batch-size", 4).code == 0
    expected = [float(row["nll"]) for row in rows(whole / "nll.csv")]
    assert [float(row["nll"]) for row in rows(parts / "nll.csv")] == pytest.approx(expected, abs=1e-3)

    interrupted = tmp_path / "interrupted"
    from sdekit_cli.likelihood import partial_rows

    original = partial_rows.PartialRows.add
    added = []

    def add_then_stop(self: partial_rows.PartialRows, new: Any) -> None:
        original(self, new)
        added.append(len(self))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partial_rows.PartialRows, "add", add_then_stop)
        stopped = sdekit("nll", moons_run, "-n", 6, "--out", interrupted, "--batch-size", 2)
    assert stopped.code != 0 and "2 rows, is kept in" in stopped.err and "nll.partial.csv" in stopped.err
    partial = interrupted / "nll.partial.csv"
    assert added == [2] and partial.exists()
    partial.write_text(partial.read_text() + "17,0.3")  # a kill cuts the last line
    assert "other options" in sdekit("nll", moons_run, "-n", 5, "--out", interrupted).err
    assert sdekit("nll", moons_run, "-n", 6, "--out", interrupted, "--batch-size", 2).code == 0
    assert [float(row["nll"]) for row in rows(interrupted / "nll.csv")] == pytest.approx(expected, abs=1e-3)
    assert not partial.exists()


def test_bits_per_dimension_need_bins(sdekit: CLI, moons_run: Path, digits_run: Path, tmp_path: Path) -> None:
    """Continuous data are refused; whole numbers give bits per dimension."""
    result = sdekit("nll", moons_run, "-n", 2, "--dequantization", "uniform", "--out", tmp_path / "a")
    assert result.code == 2 and "continuous" in result.err and "nats" in result.err
    given = ("--dequantization", "uniform", "--tolerance", 1e-3, "--probes", 2, "--trace", "hutchinson", "--json")
    result = sdekit("nll", digits_run, "-n", 2, "--out", tmp_path / "b", *given)
    assert result.code == 0, result.err
    record = json.loads(result.out)
    assert record["bits_per_dim"] == pytest.approx(record["nll"] / (64 * np.log(2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "digits"), "(1, 8, 8)"),
        (("--solver", "ddpm"), "draws noise"),
        (("--solver", "dopri5", "--tolerance", 1e-9), "float64"),
        (("--trace", "jacobian"), "--trace jacobian"),
        (("-n", 0), "-n must be at least 1"),
        (("--samples", 3), "--dequantization"),
        (("--dtype", "int8"), "--dtype int8"),
    ],
)
def test_wrong_input_is_refused(
    sdekit: CLI, moons_run: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    """One message names the problem, and no result is written."""
    result = sdekit("nll", moons_run, *arguments, "--out", tmp_path / "a")
    assert result.code == 2 and message in result.err
    assert not (tmp_path / "a" / "nll.csv").exists()


def test_data_in_other_units_and_nan_are_refused(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """The ranges of both are named; a NaN is refused with its place."""
    np.save(tmp_path / "wide.npy", np.full((3, 8, 8), 255.0) * np.arange(3)[:, None, None])
    result = sdekit("nll", digits_run, "--data", f"array:{tmp_path / 'wide.npy'}", "--out", tmp_path / "a")
    assert result.code == 2 and "from 0 to 510" in result.err and "from 0 to 16" in result.err
    data = np.zeros((3, 8, 8))
    data[1, 2, 3] = np.nan
    np.save(tmp_path / "nan.npy", data)
    result = sdekit("nll", digits_run, "--data", f"array:{tmp_path / 'nan.npy'}", "--out", tmp_path / "b")
    assert result.code == 2 and "nan" in result.err


def test_an_earlier_result_is_kept(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """A complete result is replaced only with --overwrite."""
    given = ("nll", moons_run, "-n", 2, "--out", tmp_path / "a")
    assert sdekit(*given).code == 0
    before = (tmp_path / "a" / "nll.csv").read_bytes()
    result = sdekit(*given)
    assert result.code == 2 and "--overwrite" in result.err
    assert (tmp_path / "a" / "nll.csv").read_bytes() == before
    assert sdekit(*given, "--overwrite").code == 0


def test_conditions_and_guidance(sdekit: CLI, dropped_run: Path, numbers_run: Path, tmp_path: Path) -> None:
    """Items are conditioned on their labels or numbers, or on those of the options; guidance changes the density."""
    values = {}
    for name, run, given in (
        ("label", dropped_run, ()),
        ("stated", dropped_run, ("--label", "1")),
        ("guided", dropped_run, ("--guidance", "cfg:scale=2")),
        ("numbers", numbers_run, ()),
        ("far", numbers_run, ("--condition", "190")),
    ):
        how = ("-n", 2, "--solver", "heun", "--steps", 12, "--json", *given)
        result = sdekit("nll", run, *how, "--out", tmp_path / name)
        assert result.code == 0, result.err
        values[name] = json.loads(result.out)["nll"]
    assert len({round(values[name], 3) for name in ("label", "stated", "guided")}) == 3
    assert abs(values["numbers"] - values["far"]) > 1e-3
    record = json.loads((tmp_path / "guided" / "nll.json").read_text())
    assert record["guidance"][0]["name"] == "cfg" and record["guidance"][0]["options"]["scale"] == 2


def test_a_class_that_the_model_has_not_seen(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """The item, its class and the classes of the model are named; --label replaces the labels of the data."""
    (tmp_path / "t.csv").write_text("a,b,kind\n0.5,0.2,0\n0.1,0.3,7\n")
    data = ("--data", f"table:{tmp_path / 't.csv'}", "--option", "label=kind")
    for command in ("nll", "encode", "bound"):
        result = sdekit(command, moons_run, *data, "--out", tmp_path / command)
        assert result.code == 2 and "item 1 has the label 7" in result.err and "0, 1" in result.err
        assert not (tmp_path / command).exists()
    given = ("--label", "1", "--times", 1, "--out", tmp_path / "stated")
    assert sdekit("bound", moons_run, *data, *given).code == 0
