"""Likelihoods and latents of opened pipelines: pixels, latents with labels, and latents with texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.models import open_model
from sdekit_cli.app import main

QUICK = ("--solver", "ddim", "--steps", "8")


def run(*arguments: object) -> int:
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture
def images(folders: Any, tmp_path: Path) -> Callable[[Path], str]:
    """images(folder) saves two images of the size that a pipeline makes, and returns them as a data set."""

    def save(folder: Path) -> str:
        channels, height, width = open_model(f"diffusers:{folder}").data_shape
        pixels = np.random.default_rng(0).integers(0, 256, (2, height, width, channels), dtype=np.uint8)
        np.save(tmp_path / "images.npy", pixels)
        return f"array:{tmp_path / 'images.npy'}"

    return save


def test_pixels(folders: Any, images: Callable[[Path], str], tmp_path: Path) -> None:
    """A DDPM pipeline has likelihoods in bits per dimension, a bound, and latents."""
    given = (f"diffusers:{folders.ddpm}", "--data", images(folders.ddpm))
    bits = ("--dequantization", "uniform", "--trace", "hutchinson", "--probes", 1)
    assert run("nll", *given, *QUICK, *bits, "--out", tmp_path / "nll") == 0
    record = json.loads((tmp_path / "nll" / "nll.json").read_text())
    assert record["bits_per_dim"] == pytest.approx(record["nll"] / (192 * np.log(2))) and record["n"] == 2
    assert run("bound", *given, "--bin-width", 1, "--times", 1, "--out", tmp_path / "bound") == 0
    assert run("encode", *given, *QUICK, "--out", tmp_path / "z") == 0
    assert np.load(tmp_path / "z" / "latents.npy").shape == (2, 3, 8, 8)


def test_latents_with_labels(
    folders: Any, images: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A DiT pipeline has likelihoods in the units of the latents, and no bits per dimension; its labels are needed."""
    given = (f"diffusers:{folders.dit}", "--data", images(folders.dit))
    quick = (*QUICK, "--trace", "hutchinson", "--probes", 1, "--label", "class 3", "--out")
    assert run("nll", *given, *quick, tmp_path / "nll") == 0
    assert "units of the latents" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "nll" / "nll.json").read_text())["units"] == "the latents"
    assert run("nll", *given, "--dequantization", "uniform", *quick, tmp_path / "a") == 2
    assert "latents of an autoencoder" in capsys.readouterr().err
    assert run("nll", *given, *QUICK, "--out", tmp_path / "a") == 2
    assert "add --label" in capsys.readouterr().err and not (tmp_path / "a").exists()
    assert run("encode", *given, *QUICK, "--label", "class 3", "--out", tmp_path / "z") == 0
    latents = np.load(tmp_path / "z" / "latents.npy")
    assert latents.shape[1:] == open_model(f"diffusers:{folders.dit}").shape
    given = ("--latents", tmp_path / "z", *QUICK, "--label", "class 3", "--out", tmp_path / "x")
    assert run("decode", f"diffusers:{folders.dit}", *given) == 0
    assert np.load(tmp_path / "x" / "samples.npy").shape == np.load(tmp_path / "images.npy").shape


def test_latents_with_texts(
    text_pipeline: Callable[[str], Path],
    images: Callable[[Path], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A pipeline with texts needs --prompt, and works in float64 too."""
    folder = text_pipeline("sdxl")
    given = (f"diffusers:{folder}", "--data", images(folder), "--times", 1, "--dtype", "float64")
    assert run("bound", *given, "--out", tmp_path / "a") == 2 and "add --prompt" in capsys.readouterr().err
    assert run("bound", *given, "--prompt", "a dog", "--out", tmp_path / "a") == 0
    assert json.loads((tmp_path / "a" / "bound.json").read_text())["prompt"] == ["a dog"]
