"""`sdekit edit`: closeness to the image, solvers, grids and guidances, and refused options."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdekit.data.formats import decode_image
from sdekit.distributed import World
from sdekit.models import open_model
from sdekit_cli.sampling.measurement import read_sample
from sdekit_cli.sampling.session import SamplingSession

CLI = Callable[..., Any]


def test_edit(sdekit: CLI, digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """With little noise the samples stay close to the image; the record contains the time."""
    for name, strength in {"near": 0.05, "far": 0.9}.items():
        given = ("--image", clean, "--strength", strength, "-n", 3, "--steps", 4, "--out", tmp_path / name)
        assert sdekit("edit", digits_run, *given).code == 0
    near, far = (np.load(tmp_path / name / "samples.npy") for name in ("near", "far"))
    assert abs(near - np.load(clean)).mean() < 1.5 < abs(far - np.load(clean)).mean()
    record = json.loads((tmp_path / "far" / "edit.json").read_text())
    assert record["nfe"] == 4 and record["strength"] == 0.9 and record["t"] == record["times"][0]
    assert {"before-after.png", "grid.png", "samples.npy"} <= set(os.listdir(tmp_path / "far"))
    given = ("--image", clean, "--t", 0.3, "-n", 1, "--steps", 2, "--solver", "ddpm", "--out", tmp_path / "t", "--json")
    result = sdekit("edit", digits_run, *given)
    assert result.code == 0 and json.loads(result.out)["t"] == pytest.approx(0.3)


def test_the_solver_is_recorded(sdekit: CLI, digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """The record contains the solver with all of its options."""
    given = (
        "--image",
        clean,
        "-n",
        1,
        "--steps",
        2,
        "--solver",
        "ddim",
        "--option",
        "eta=0.7",
        "--out",
        tmp_path / "e",
    )
    assert sdekit("edit", digits_run, *given).code == 0
    record = json.loads((tmp_path / "e" / "edit.json").read_text())
    assert record["solver"] == "ddim" and record["options"]["eta"] == 0.7


def test_help_tells_the_default(sdekit: CLI) -> None:
    told = " ".join(sdekit("edit", "--help").out.replace("│", " ").split())
    assert "at 0.5, the default, it is as strong as the signal" in told and "(0.5)" not in told


def test_edit_refusals(refused: Callable[..., str], digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """Values out of range and conflicting options are refused."""
    given = ("edit", digits_run, "--image", clean, "--out", tmp_path / "e")
    assert "strength must be above 0 and at most 1" in refused(*given, "--strength", 1.5)
    assert "t must be above" in refused(*given, "--t", 7)
    assert "--strength or --t, not both" in refused(*given, "--t", 0.5, "--strength", 0.5)
    assert "--steps must be at least 1" in refused(*given, "--steps", 0)


def test_a_budget_a_grid_and_a_guidance(sdekit: CLI, dropped_run: Path, tmp_path: Path) -> None:
    """--nfe, --grid and --guidance work as in `sample`, on the grid below the time of the image."""
    np.save(tmp_path / "x.npy", np.array([0.5, 0.2]))
    given = ("--image", tmp_path / "x.npy", "-n", 4, "--label", 0, "--solver", "heun", "--nfe", 7, "--grid", "uniform")
    for name, more in {"plain": (), "guided": ("--guidance", "cfg:scale=6")}.items():
        result = sdekit("edit", dropped_run, *given, *more, "--out", tmp_path / name, "--json")
        assert result.code == 0 and json.loads(result.out)["nfe"] == 7
    record = json.loads((tmp_path / "guided" / "edit.json").read_text())
    assert record["guidance"][0]["name"] == "cfg" and record["grid"] == "uniform" and record["labels"] == [0] * 4
    assert record["times"] == pytest.approx(np.linspace(record["t"], record["times"][-1], 4))
    plain, guided = (np.load(tmp_path / name / "samples.npy") for name in ("plain", "guided"))
    assert not np.allclose(plain, guided)


def test_each_process_edits_its_part(
    sdekit: CLI, moons_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two processes draws its part of the seeds, and the samples are those of one process."""
    np.save(tmp_path / "x.npy", np.array([0.5, 0.2]))
    given = ("edit", moons_run, "--image", tmp_path / "x.npy", "--solver", "ddpm", "--steps", 4)
    assert sdekit(*given, "--seeds", "3-7", "--out", tmp_path / "all").code == 0
    parts = []
    for rank in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(SamplingSession, "_part", lambda session, rank=rank: World(rank, 2).part(len(session.seeds)))
            patch.setattr(SamplingSession, "_gather", lambda session, samples: parts.append(samples))
            assert sdekit(*given, "--seeds", "3-7", "--out", tmp_path / "part").code == 0
    assert not (tmp_path / "part").exists() and [part.seeds for part in parts] == [(3, 4, 5), (6, 7)]
    drawn = np.concatenate([part.x.numpy() for part in parts])
    whole = np.load(tmp_path / "all" / "samples.npy")
    units = json.loads((moons_run / "config.json").read_text())["units"]
    np.testing.assert_allclose(drawn * np.array(units["scale"]) + np.array(units["shift"]), whole, atol=1e-4)


def photo(path: Path, width: int, height: int, mode: str = "RGB") -> Path:
    """Write an image of random pixels."""
    bands = {"L": (), "I;16": ()}.get(mode, (len(mode),))
    pixels = np.random.default_rng(0).integers(0, 65536 if mode == "I;16" else 256, (height, width, *bands))
    Image.fromarray(pixels.astype(np.uint16 if mode == "I;16" else np.uint8)).save(path)
    return path


def test_an_image_of_another_size_is_resized(
    sdekit: CLI, refused: Callable[..., str], digits_run: Path, tmp_path: Path
) -> None:
    """The message contains both sizes and --resize, which edits the image that training reads by --size."""
    image = photo(tmp_path / "photo.png", 64, 48)
    given = ("edit", digits_run, "--image", image, "-n", 1, "--steps", 2, "--strength", 0.02, "--out", tmp_path / "e")
    message = refused(*given)
    assert "has 64x48 pixels, but samples of this run have 8x8: add --resize to crop it" in message
    result = sdekit(*given, "--resize")
    assert result.code == 0
    notes = " ".join(result.err.split())
    assert "64x48 pixels are cropped and resized to 8x8" in notes and "colours are converted to grey" in notes
    assert json.loads((tmp_path / "e" / "edit.json").read_text())["resize"] is True
    expected = decode_image(image.read_bytes(), 8, 1) / 255 * 16
    read = read_sample(image, open_model(str(digits_run)), "--image", resize=True)
    np.testing.assert_allclose(read, expected)
    assert abs(np.load(tmp_path / "e" / "samples.npy")[0] - expected).mean() < 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(64, 48), (7, 30), (8, 8), (5, 5)])
def test_images_of_all_kinds_are_resized_as_in_training(
    digits_run: Path, tmp_path: Path, mode: str, size: tuple[int, int]
) -> None:
    """Grey images and colours, with and without an alpha channel, of any size and aspect ratio."""
    image = photo(tmp_path / "photo.png", *size, mode)
    read = read_sample(image, open_model(str(digits_run)), "--image", resize=True)
    expected = decode_image(image.read_bytes(), 8, 1) / 255 * 16
    np.testing.assert_allclose(read, expected, atol=0.04)  # half a grey level, by which training rounds


def test_pixels_of_16_bits_keep_their_numbers(digits_run: Path, tmp_path: Path) -> None:
    """Grey images of 16 bits are in the units of data that do not have 8 bits."""
    image = photo(tmp_path / "photo.png", 16, 16, "I;16")
    read = read_sample(image, open_model(str(digits_run)), "--image", resize=True)
    np.testing.assert_allclose(read, decode_image(image.read_bytes(), 8, 1, deep=True))


def test_what_cannot_be_resized(refused: Callable[..., str], digits_run: Path, moons_run: Path, tmp_path: Path) -> None:
    """Arrays are not resized, and samples that are not images have no size in pixels."""
    np.save(tmp_path / "x.npy", np.zeros((5, 5)))
    given = ("--image", tmp_path / "x.npy", "--out", tmp_path / "e")
    assert "give an image file and --resize" in refused("edit", digits_run, *given)
    assert "--resize works for image files only" in refused("edit", digits_run, *given, "--resize")
    assert "samples of this run are not images" in refused("edit", moons_run, *given, "--resize")
    assert "give a file of that shape" in refused("edit", moons_run, *given)
    ends = ("--from", photo(tmp_path / "a.png", 9, 9, "L"), "--to", tmp_path / "a.png")
    assert "add --resize" in refused("interpolate", digits_run, *ends, "--out", tmp_path / "i")
    seeds = ("--seeds", "3,7", "--resize", "--out", tmp_path / "i")
    assert "does nothing with --seeds" in refused("interpolate", digits_run, *seeds)
