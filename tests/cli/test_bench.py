"""`sdekit bench`: its table, plot and JSON, and its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdekit import registry

CLI = Callable[..., Any]


def test_mixture(sdekit: CLI, tmp_path: Path) -> None:
    """The output is a table with a row for each sampler, a plot, and a recommendation."""
    given = ("bench", "mixture", "--nfe", 10, "--nfe", 5, "--solver", "ddim", "--solver", "auto", "-n", 20)
    result = sdekit(*given, "--plot", tmp_path / "b.png")
    assert result.code == 0 and (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    head, *rows = (line.split() for line in result.out.strip().splitlines())
    assert head == ["solver", "grid", "5", "10"] and [row[:2] for row in rows] == [["ddim", "karras"], ["auto", "auto"]]
    assert float(rows[1][3]) < float(rows[0][3])
    assert "--solver auto --grid auto" in result.err.replace("\n", " ")
    assert "root mean square over 20 starts" in result.err.replace("\n", " ")


def test_statistics(sdekit: CLI) -> None:
    """--statistic selects the average over starts in the table and the recommendation; --json contains all averages."""
    given = ("bench", "mixture", "--nfe", 8, "--solver", "auto", "-n", 20)
    (measurement,) = json.loads(sdekit(*given, "--json").out)["measurements"]
    for statistic, key in (("median", "median"), ("trimmed", "trimmed"), ("rms", "error")):
        result = sdekit(*given, "--statistic", statistic)
        assert result.out.split()[-1] == f"{measurement[key]:.2g}"
        report = json.loads(sdekit(*given, "--statistic", statistic, "--json").out)
        assert report["statistic"] == statistic and report["best"]["8"]["error"] == measurement[key]
    assert measurement["median"] < measurement["error"]


def test_json_on_a_run(sdekit: CLI, digits_run: Path) -> None:
    """With --json the output is one object; --grid applies to all samplers."""
    given = ("--nfe", 4, "--solver", "ddim", "--solver", "heun", "--grid", "uniform", "-n", 2, "--json")
    result = sdekit("bench", digits_run, *given)
    assert result.code == 0
    told = json.loads(result.out)
    assert told["run"] == str(digits_run) and told["n"] == 2
    assert [(m["sampler"], m["grid"], m["calls"]) for m in told["measurements"]] == [
        ("ddim", "uniform", 4),
        ("heun", "uniform", 3),
    ]


def test_a_plugin_file(sdekit: CLI, tmp_path: Path) -> None:
    """A sampler of a plugin file is compared like any other."""
    (tmp_path / "mine.py").write_text(
        "from sdekit import hookimpl\nfrom sdekit_plugins.samplers.heun import Heun\n"
        "@hookimpl\ndef sdekit_samplers():\n    return {'my-heun': Heun}\n"
    )
    given = ("bench", "mixture", "--solver", "my-heun", "--nfe", 5, "-n", 4, "--plugin", tmp_path / "mine.py", "--json")
    result = sdekit(*given)
    registry.forget_plugin_files()
    assert result.code == 0, result.err
    assert [m["sampler"] for m in json.loads(result.out)["measurements"]] == ["my-heun"]


def test_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    """Wrong names and numbers are refused."""
    assert "at least 1" in refused("bench", "mixture", "--nfe", 0)
    assert "at least 1" in refused("bench", "mixture", "-n", 0)
    assert "noise" in refused("bench", "mixture", "--solver", "ddpm")
    assert "did you mean" in refused("bench", "mixture", "--solver", "ddmi")
    assert "did you mean" in refused("bench", "mixture", "--process", "vpp")
    assert ".png" in refused("bench", "mixture", "--plot", tmp_path / "none" / "b.png")
    assert "nowhere" in refused("bench", tmp_path / "nowhere")
