"""The command line on opened models of images: files, labels, ranges and messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdekit_cli.app import main

diffusers = pytest.importorskip("diffusers")


@pytest.fixture
def sdekit(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """sdekit(*arguments) runs the command line and returns its exit code and output."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, " ".join(captured.err.split())

    return run


CLI = Callable[..., tuple[int, str, str]]


def test_pixels(sdekit: CLI, folders: Any, tmp_path: Path) -> None:
    """clip knows the range of the pixels; without it, a model that diverges is reported with its remedy."""
    model = f"diffusers:{folders.clipped}"
    code, out, _ = sdekit("info", model, "--json")
    assert code == 0 and json.loads(out)["makers_clip"] == "x_0 to [-1, 1]: --guidance clip"
    given = ("sample", model, "--solver", "ddim", "--steps", 4, "-n", 2, "--out")
    code, _, message = sdekit(*given, tmp_path / "free")
    assert code == 0 and "far outside of the data's range" in message and "add --guidance clip" in message
    code, _, message = sdekit(*given, tmp_path / "clipped", "--guidance", "clip")
    assert code == 0 and "outside" not in message
    code, _, message = sdekit(*given, tmp_path / "text", "--prompt", "a cat")
    assert code == 2 and "text" in message and not (tmp_path / "text").exists(), message
    samples = np.load(tmp_path / "clipped" / "samples.npy")
    assert samples.shape == (2, 8, 8, 3) and samples.min() >= -1e-3 and samples.max() <= 255.001
    assert Image.open(tmp_path / "clipped" / "images" / "0.png").size == (8, 8)


def test_restoration(sdekit: CLI, folders: Any, tmp_path: Path) -> None:
    """`restore` measures a picture of the size of the model's pixels."""
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / "x.png")
    given = ("--operator", "mask:keep=0.5", "--degrade", tmp_path / "x.png", "--noise-std", 5, "--guidance", "clip")
    options = ("--method", "pigdm", "--steps", 4, "-n", 1, "--out", tmp_path / "out")
    code, _, message = sdekit("restore", f"diffusers:{folders.ddpm}", *given, *options)
    assert code == 0, message
    assert (tmp_path / "out" / "before-after.png").is_file()


def test_labels(sdekit: CLI, folders: Any, tmp_path: Path) -> None:
    """Labels are given by number or name; samples are the decoded images."""
    model = f"diffusers:{folders.dit}"
    given = ("sample", model, "--solver", "ddim", "--steps", 3, "-n", 2, "--guidance", "cfg:scale=3", "--out")
    code, _, message = sdekit(*given, tmp_path / "s", "--label", "class 7")
    assert code == 0, message
    assert np.load(tmp_path / "s" / "samples.npy").shape == (2, 16, 16, 3)
    assert json.loads((tmp_path / "s" / "sample.json").read_text())["labels"] == [7, 7]
    code, _, message = sdekit(*given, tmp_path / "other", "--label", 10)
    assert code == 2 and "label 10: this model has the labels 0 to 9" in message
    code, _, message = sdekit(*given, tmp_path / "other", "--label", 1, "--guidance", "clip")
    assert code == 2 and "clip: needs the range of the data" in message
    assert not (tmp_path / "other").exists()
