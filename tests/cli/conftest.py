"""Fixtures: the command line within this process, tiny runs, and input files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from sdekit_cli.app import main

TINY_UNET = ("--network", "unet", "--option", "network.width=8", "--option", "train.batch_size=4")
TINY_MLP = ("--network", "mlp", "--option", "network.width=8", "--option", "network.depth=1")
FAST = ("--option", "train.learning_rate=8e-3")


class Result(NamedTuple):
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> int:
    """Run `sdekit ARGUMENTS` and return its exit code; any exception except SystemExit is a bug and propagates."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def sdekit(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """sdekit(*arguments) runs the command line and returns its exit code and output."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        code = call(*arguments)
        return Result(code, *capsys.readouterr())

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder: the bytes of files, None for folders."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(sdekit: Callable[..., Result], tmp_path: Path) -> Callable[..., str]:
    """refused(*arguments) asserts exit code 2, a single message and unchanged files, and returns the message."""

    def run(*arguments: object) -> str:
        before = contents(tmp_path)
        result = sdekit(*arguments)
        assert result.code == 2, result
        assert result.out == "" and "Traceback" not in result.err
        assert contents(tmp_path) == before
        lines = result.err.strip().splitlines()
        if lines[0].startswith("Usage:"):  # typer's own: a usage line and one box
            assert result.err.count("─ Error ─") == 1
            return " ".join(" ".join(line.strip("│ ") for line in lines).split())
        assert len(lines) == 1 and lines[0].startswith("error: "), result.err
        return lines[0].removeprefix("error: ")

    return run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net of 4 steps on digits. Read only."""
    out = tmp_path_factory.mktemp("cli") / "digits"
    assert call("train", "--data", "digits", "--out", out, "--steps", 4, *TINY_UNET) == 0
    return out


@pytest.fixture(scope="session")
def moons_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLP of 40 steps on moons, conditioned on the label. Read only."""
    out = tmp_path_factory.mktemp("cli") / "moons"
    arguments = ("--condition", "label", "--option", "data.n=300", "--option", "train.warm_up=0", *TINY_MLP)
    assert call("train", "--data", "moons", "--out", out, "--steps", 40, *arguments) == 0
    return out


@pytest.fixture(scope="session")
def dropped_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLP on moons, trained with dropped labels. Read only."""
    out = tmp_path_factory.mktemp("guidance") / "run"
    arguments = ("--condition", "label", "--drop", 0.2, "--option", "data.n=300", "--option", "train.warm_up=0")
    assert call("train", "--data", "moons", "--out", out, "--steps", 30, *arguments, *TINY_MLP, *FAST) == 0
    return out


@pytest.fixture(scope="session")
def numbers_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLP on a table with x = w / 10 + noise, conditioned on the column w. Read only."""
    folder = tmp_path_factory.mktemp("numbers")
    rng = np.random.default_rng(0)
    w = rng.uniform(100, 200, 300)
    rows = np.stack([w / 10 + rng.normal(0, 0.3, 300), rng.normal(0, 1, 300), w], 1)
    (folder / "t.csv").write_text("x,z,w\n" + "\n".join(",".join(map(str, row)) for row in rows))
    arguments = ("--condition", "w", "--drop", 0.1, "--network", "mlp", "--option", "network.width=32", *FAST)
    assert (
        call("train", "--data", f"table:{folder / 't.csv'}", "--out", folder / "run", "--steps", 150, *arguments) == 0
    )
    return folder / "run"


HOSTILE = "<script>alert(1)</script>"
"""Name of a column that would be a script in a page that does not escape it."""


@pytest.fixture(scope="session")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLP of 20 steps on a table whose column names are markup, mathematics and other alphabets. Read only."""
    folder = tmp_path_factory.mktemp("table")
    rows = [f"{i % 7 - 3},{(i * 37 % 11) / 2},{(i * i) % 13}" for i in range(120)]
    (folder / "t.csv").write_text("\n".join([f"{HOSTILE},Länge [mm],$a_1 & b$", *rows]) + "\n", encoding="utf-8")
    run = folder / "run <b>"
    assert call("train", "--data", f"table:{folder / 't.csv'}", "--out", run, "--steps", 20, *TINY_MLP) == 0
    return run


@pytest.fixture(scope="session")
def reports(digits_run: Path, table_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of runs of images and of a table. Read only."""
    folder = tmp_path_factory.mktemp("reports")
    for name, run in (("images", digits_run), ("table", table_run)):
        assert call("report", run, "--out", folder / f"{name}.html", "--quick", "--nfe", 4, "-n", 24) == 0
    return {file.stem: file for file in folder.iterdir()}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two class folders of six 8x8 RGB images each."""
    rng = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / "pictures" / ("cat", "dog")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    return tmp_path / "pictures"


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """An image of 8x8 pixels that looks like a digit, in the units of the data, 0 to 16."""
    image = np.zeros((8, 8), np.float32)
    image[1:7, 3:5] = 16
    np.save(tmp_path / "clean.npy", image)
    return tmp_path / "clean.npy"
