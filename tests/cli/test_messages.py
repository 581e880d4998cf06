"""Messages: paths letter by letter, commands that can be pasted, complete tables, and no tracebacks."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from sdekit.runs import npy_bytes
from sdekit_cli import app
from sdekit_cli.terminal import console

from .conftest import TINY_MLP

CLI = Callable[..., Any]
SDEKIT = (sys.executable, "-m", "sdekit_cli")
ODD = "a[/] [red]é :smile:"
"""The name of a folder with special characters of rich and of the shell."""


def pasted(err: str, first: str) -> list[str]:
    """Return the arguments of the command `sdekit FIRST ...` that a message suggests, split as a shell does."""
    return shlex.split(err[err.index(f"sdekit {first} ") :].strip().splitlines()[0])[1:]


def test_odd_paths(sdekit: CLI, tmp_path: Path) -> None:
    """Commands work in such a folder, and the commands that they suggest contain its name unchanged."""
    (place := tmp_path / ODD).mkdir(parents=True)
    result = sdekit("train", "--data", "moons", "--out", place / "run", "--steps", 2, *TINY_MLP)
    assert result.code == 0 and f"into {place / 'run'}" in result.err
    assert pasted(result.err, "sample")[:2] == ["sample", str(place / "run")]
    result = sdekit("sample", place / "run", "-n", 2, "--steps", 2, "--out", place / "s")
    assert result.code == 0 and f"look at {place / 's' / 'scatter.png'}" in result.err
    result = sdekit("export", place / "run", "--format", "torch")
    assert result.code == 0 and f"exported {place / 'run'}: " in result.err
    assert pasted(result.err, "sample")[1] == str((place / "run-torch").resolve())
    result = sdekit("plugins", "new", "odd-one", "--out", place / "new")
    assert result.code == 0 and f"into {place / 'new'}; edit" in result.err
    assert "".join(ODD.split()) in "".join(sdekit("info", place / "run").out.split())
    message = sdekit("tune", place / "run-torch", "--nfe", 3)
    assert message.code == 2 and "run-torch is an export already" in message.err
    message = sdekit("export", place / "run-torch", "--format", "onnx")
    assert message.code == 2 and "run-torch is an export already" in message.err


def test_note(capsys: pytest.CaptureFixture[str]) -> None:
    """Markup in values is printed as it is, and numbers are formatted."""
    console.note("[bold]{}[/] {:.1f}", "[/]x[red]:smile:", 1.26)
    assert capsys.readouterr().err == "[/]x[red]:smile: 1.3\n"


def test_how_training_ended(sdekit: CLI, tmp_path: Path) -> None:
    """The messages after a training fit: without a loss, without a step, already finished, and a short run."""
    given = ("train", "--data", "moons", *TINY_MLP)
    result = sdekit(*given, "--steps", 3, "--option", "train.held_out=0", "--out", tmp_path / "a")
    assert result.code == 0 and "None" not in result.err and "trained 3 steps in" in result.err
    result = sdekit("train", "--out", tmp_path / "a", "--resume")
    assert result.code == 0 and "was finished already, at step 3" in result.err and "--resume --steps 6" in result.err
    result = sdekit(*given, "--steps", 3, "--time-limit", 1e-9, "--out", tmp_path / "b")
    assert result.code == 0 and "at step 0 of 3 and nothing was trained: start with" in result.err
    assert sdekit(*pasted(result.err, "train")).code == 0 and (tmp_path / "b" / "model.safetensors").exists()
    result = sdekit(*given, "--steps", 3, "--json", "--out", tmp_path / "c")
    assert '"loss": null' not in result.out and result.code == 0


@pytest.mark.parametrize("arguments", [("plugins", "list"), ("plugins", "list", "--json"), ("--help",), ("--version",)])
def test_full_disk(arguments: tuple[str, ...]) -> None:
    """If stdout cannot be written, the exit code is 1 and there is one message."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SDEKIT, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "error: could not write the output: No space left on device" in done.stderr


def test_nobody_reads() -> None:
    """A closed pipe ends the command without a message."""
    process = subprocess.Popen(
        [*SDEKIT, "plugins", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(100) == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 40000000000 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.50 GiB"),
    ],
    ids=str,
)
def test_memory(sdekit: CLI, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A lack of memory has exit code 1 and one message; any other RuntimeError propagates as a bug."""

    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(app, "app", fail)
    result = sdekit("sample")
    assert result.code == 1 and result.err.startswith("error: there is not enough memory")
    assert len(result.err.splitlines()) == 1
    error = RuntimeError("else")
    with pytest.raises(RuntimeError, match="else"):
        app.main(["sample"])


@pytest.mark.parametrize("width", [1, 40])
def test_narrow(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No letter of a table is cut off in a narrow terminal."""
    out = StringIO()
    monkeypatch.setattr(console, "shown", Console(file=out, width=width))
    table = Table("name", "what", box=None)
    table.add_row("adaptive-sde-of-a-long-name", "a summary of more words than there is place for")
    console.show_table(table)
    letters = "".join(out.getvalue().split())
    assert "…" not in letters and sorted(letters) == sorted(
        "namewhatadaptive-sde-of-a-long-nameasummaryofmorewordsthanthereisplacefor"
    )


def test_names_are_whole() -> None:
    """Every sampler's name fits on one line of 40 columns."""
    done = subprocess.run(
        [*SDEKIT, "plugins", "list", "--kind", "sampler"],
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | {"COLUMNS": "40"},
    )
    assert " adaptive-sde " in done.stdout and " euler-maruyama " in done.stdout


def test_conditions(refused: Callable[..., str], numbers_run: Path, tmp_path: Path) -> None:
    """A number too large for float32 is refused with the valid range."""
    for number in ("1e300", "-1e38", "1e30"):
        message = refused("sample", numbers_run, f"--condition={number}", "--out", tmp_path / "s")
        assert f"--condition {number}: too large" in message and "give w -" in message


def test_label_by_name(sdekit: CLI, refused: Callable[..., str], pictures: Path, tmp_path: Path) -> None:
    """A class may be given by its name; an unknown name is refused with the known ones."""
    given = ("--data", f"images:{pictures}", "--condition", "label", "--network", "mlp", "--option", "network.width=8")
    assert sdekit("train", *given, "--steps", 2, "--out", tmp_path / "run").code == 0
    named, numbered = tmp_path / "named", tmp_path / "numbered"
    assert sdekit("sample", tmp_path / "run", "--label", "dog", "-n", 2, "--steps", 2, "--out", named).code == 0
    assert sdekit("sample", tmp_path / "run", "--label", 1, "-n", 2, "--steps", 2, "--out", numbered).code == 0
    assert (named / "samples.npy").read_bytes() == (numbered / "samples.npy").read_bytes()
    message = refused("sample", tmp_path / "run", "--label", "cow", "--out", tmp_path / "s")
    assert "--label cow" in message and "has the labels 0 to 1 (cat, dog)" in message


@pytest.mark.parametrize("reach", [1e30, 1e6])
def test_measurement_in_other_units(
    refused: Callable[..., str], digits_run: Path, tmp_path: Path, reach: float
) -> None:
    """Numbers far out of the range of the data are refused, before any method fails on them."""
    (tmp_path / "y.npy").write_bytes(npy_bytes(np.full((1, 8, 8), reach)))
    given = ("--operator", "mask:keep=0.5", "--measurement", tmp_path / "y.npy")
    message = refused("restore", digits_run, *given, "--out", tmp_path / "s")
    assert f"y.npy: contains {reach:.3g}, but measurements of this run's data by mask reach about" in message
    assert "y.npy: contains" in refused("edit", digits_run, "--image", tmp_path / "y.npy", "--out", tmp_path / "s")


def test_bench(refused: Callable[..., str]) -> None:
    """`bench` refuses too few evaluations, too many starts and a misspelt name."""
    assert "too few evaluations: heun needs 3" in refused("bench", "mixture", "--nfe", 1, "--solver", "heun")
    assert "did you mean 'mixture'?" in refused("bench", "mixtur")
    assert "-n asks for 99999999999" in refused("bench", "mixture", "-n", 99999999999)


def test_four_channels(sdekit: CLI, tmp_path: Path) -> None:
    """If pictures show some channels only, the summary says so."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 255, (12, 4, 8, 8)).astype(np.uint8))
    given = ("--network", "mlp", "--option", "network.width=8")
    assert (
        sdekit("train", "--data", f"array:{tmp_path / 'x.npy'}", "--steps", 2, *given, "--out", tmp_path / "r").code
        == 0
    )
    result = sdekit("sample", tmp_path / "r", "-n", 2, "--steps", 2, "--out", tmp_path / "s")
    assert result.code == 0 and "(it shows 3 of 4 channels)" in result.err
