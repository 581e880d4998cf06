"""`sdekit restore`: the files, their units, and refused options."""

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

CLI = Callable[..., Any]
IMAGES = ["before-after.png", "grid.png", "images", "mean.npy", "mean.png", "measurement.npy", "measurement.png"]


def test_a_trial_on_an_image(sdekit: CLI, digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """The results are the measurement, samples, their mean and standard deviation, pictures and the record."""
    out = tmp_path / "r"
    given = ("--operator", "super-resolution:factor=2", "--degrade", clean, "--noise-std", 0.5)
    result = sdekit("restore", digits_run, *given, "-n", 3, "--steps", 4, "--out", out)
    assert result.code == 0 and result.out == "" and str(out / "before-after.png") in result.err
    assert sorted(os.listdir(out)) == sorted([*IMAGES, "restore.json", "samples.npy", "std.npy", "std.png"])
    samples, y = np.load(out / "samples.npy"), np.load(out / "measurement.npy")
    exact = np.load(clean).reshape(4, 2, 4, 2).mean((1, 3))
    assert samples.shape == (3, 1, 8, 8) and y.shape == (1, 4, 4) and 0.2 < (y[0] - exact).std() < 0.9
    np.testing.assert_allclose(np.load(out / "mean.npy"), samples.mean(0), atol=1e-4)
    np.testing.assert_allclose(np.load(out / "std.npy"), samples.std(0), atol=1e-4)
    record = json.loads((out / "restore.json").read_text())
    assert record["operator"] == {"name": "super-resolution", "options": {"factor": 2}}
    assert record["noise_std"] == pytest.approx(0.5) and record["nfe"] == 4 and record["seeds"] == [0, 1, 2]
    left = y - samples.reshape(3, 1, 4, 2, 4, 2).mean((3, 5))
    assert record["residual_std"] == pytest.approx(float(np.sqrt((left**2).mean())), rel=1e-3)
    assert Image.open(out / "before-after.png").size[0] == 7 * 66 + 2


def test_a_measurement_from_a_file(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """Pixels are mapped to the range of the data, known pixels stay, and the batch size changes nothing."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:, :4] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    known = np.full((8, 8), 128, np.uint8)
    known[2:5] = 255
    Image.fromarray(known).save(tmp_path / "y.png")
    given = ("--operator", f"mask:mask={tmp_path / 'm.png'}", "--measurement", tmp_path / "y.png", "--steps", 4)
    for name, more in {"a": (), "b": ("--batch-size", 2), "c": ("--method", "ddrm")}.items():
        arguments = (digits_run, *given, "-n", 3, *more, "--out", tmp_path / name, "--json")
        result = sdekit("restore", *arguments)
        assert result.code == 0 and json.loads(result.out)["n"] == 3
    a, b, c = (np.load(tmp_path / name / "samples.npy") for name in "abc")
    np.testing.assert_allclose(a, b, atol=1e-3)
    for samples in (a, c):
        np.testing.assert_allclose(samples[:, 0, :, :4], np.broadcast_to(known[:, :4] / 255 * 16, (3, 8, 4)), atol=0.6)


def test_points_and_estimated_noise(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """A matrix works on 2-D data with scaled columns, with estimated noise and with a label."""
    np.save(tmp_path / "a.npy", np.array([[1.0, 1.0]]))
    np.save(tmp_path / "y.npy", np.array([0.7]))
    given = ("--operator", f"matrix:matrix={tmp_path / 'a.npy'}", "--measurement", tmp_path / "y.npy")
    out = tmp_path / "s"
    result = sdekit(
        "restore", moons_run, *given, "--steps", 5, "-n", 4, "--label", 1, "--noise-std", 0.05, "--out", out
    )
    assert result.code == 0
    assert sorted(os.listdir(out)) == [
        "mean.npy", "measurement.npy", "restore.json", "samples.npy", "scatter.png", "std.npy",
    ]  # fmt: skip
    assert abs(np.load(out / "samples.npy").sum(1) - 0.7).max() < 0.5
    given = (*given, "--steps", 5, "-n", 2, "--label", 1, "--noise-std", "auto", "--out", tmp_path / "t")
    assert sdekit("restore", moons_run, *given).code == 0
    record = json.loads((tmp_path / "t" / "restore.json").read_text())
    assert record["noise_estimated"] and 0 < record["noise_std"] < 2


def test_any_solver_grid_and_guidance(sdekit: CLI, dropped_run: Path, tmp_path: Path) -> None:
    """Options of the solver, a grid, a condition and guidances work as in `sample`."""
    np.save(tmp_path / "a.npy", np.array([[1.0, 1.0]]))
    np.save(tmp_path / "y.npy", np.array([0.7]))
    given = ("--operator", f"matrix:matrix={tmp_path / 'a.npy'}", "--measurement", tmp_path / "y.npy", "-n", 6)
    given = (*given, "--noise-std", 0.05, "--label", 1, "--steps", 6, "--solver", "ddim", "--option", "eta=0.5")
    grid = ("--grid", "karras", "--option", "grid.p=3", "--noise", "brownian")
    guided = ("--guidance", "cfg:scale=6", "--guidance", "interval:from=0.3,to=9")
    drawn = {}
    for name, more in {"plain": (), "guided": guided}.items():
        out = tmp_path / name
        assert sdekit("restore", dropped_run, *given, *grid, *more, "--out", out).code == 0
        record = json.loads((out / "restore.json").read_text())
        assert (record["solver"], record["grid"], record["grid_options"]) == ("ddim", "karras", {"p": 3.0})
        assert record["noise"] == "brownian" and record["nfe"] == 6 and record["labels"] == [1] * 6
        assert [one["name"] for one in record["guidance"]] == [word.partition(":")[0] for word in more[1::2]]
        drawn[name] = np.load(out / "samples.npy")
        assert abs(drawn[name].sum(1) - 0.7).max() < 0.5
    assert not np.allclose(drawn["plain"], drawn["guided"])


def test_restore_refusals(refused: Callable[..., str], digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """Each fault is one message, and no file is written."""
    out = ("--out", tmp_path / "r")
    blur = ("--operator", "blur:std=1")
    wrong = tmp_path / "wrong.npy"
    np.save(wrong, np.zeros((5, 5)))
    assert "give --measurement FILE, or --degrade FILE" in refused("restore", digits_run, *blur, *out)
    message = refused("restore", digits_run, *blur, "--measurement", wrong, *out)
    assert "the measurement has shape (5, 5)" in message and "makes (1, 8, 8) of a sample of shape (1, 8, 8)" in message
    message = refused("restore", digits_run, *blur, "--degrade", wrong, *out)
    assert "has shape (5, 5), but samples of this run have (1, 8, 8)" in message
    message = refused("restore", digits_run, "--operator", f"mask:mask={wrong}", "--degrade", clean, *out)
    assert "it must be as large as a sample, 8 x 8 pixels" in message
    message = refused("restore", digits_run, "--operator", "phase", "--degrade", clean, "--method", "ddrm", *out)
    assert "ddrm needs a linear operator" in message and "use dps" in message
    trial = ("restore", digits_run, *blur, "--degrade", clean)
    assert "did you mean 'blur'" in refused("restore", digits_run, "--operator", "blurr", "--degrade", clean, *out)
    assert "did you mean 'mmps'" in refused(*trial, "--method", "mmp", *out)
    for more in (("--solver", "heun"), ("--option", "eta=0.5")):
        assert "ddrm is a solver itself" in refused(*trial, "--method", "ddrm", *more, *out)
    assert "--degrade adds the noise itself" in refused(*trial, "--noise-std", "auto", *out)
    assert "write a number, 0 or more" in refused(*trial, "--noise-std=-1", *out)
    assert "no such file" in refused("restore", digits_run, *blur, "--degrade", tmp_path / "none.npy", *out)


def test_the_solver_is_recorded(sdekit: CLI, digits_run: Path, clean: Path, tmp_path: Path) -> None:
    """The record contains the solver and its options, or the method's own if it is a solver itself."""
    given = ("--operator", "super-resolution", "--degrade", clean, "-n", 1, "--steps", 2)
    told = {}
    for name, more in {"ddim": ("--option", "eta=0.7"), "ddrm": ("--method", "ddrm")}.items():
        assert sdekit("restore", digits_run, *given, *more, "--out", tmp_path / name).code == 0
        told[name] = json.loads((tmp_path / name / "restore.json").read_text())
    assert told["ddim"]["solver"] == "ddim" and told["ddim"]["options"]["eta"] == 0.7
    assert told["ddrm"]["solver"] is None and told["ddrm"]["options"] is None and told["ddrm"]["method"]["options"]


def test_inpaint_as_a_guidance(sdekit: CLI, refused: Callable[..., str], digits_run: Path, tmp_path: Path) -> None:
    """`sample --guidance inpaint` keeps the known pixels with any solver, and reports missing options."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:4] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "x.png")
    both = f"inpaint:mask={tmp_path / 'm.png'},image={tmp_path / 'x.png'}"
    given = ("sample", digits_run, "--solver", "heun", "--steps", 6, "-n", 2)
    assert sdekit(*given, "--guidance", both, "--out", tmp_path / "s").code == 0
    assert abs(np.load(tmp_path / "s" / "samples.npy")[:, 0, :4] - 16).max() < 1
    out = ("--out", tmp_path / "t")
    assert "inpaint:mask=FILE,image=FILE" in refused(*given, "--guidance", "inpaint", *out)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "big.png")
    wrong = f"inpaint:mask={tmp_path / 'm.png'},image={tmp_path / 'big.png'}"
    assert "has shape (9, 9); it must be as large as a sample, (1, 8, 8)" in refused(*given, "--guidance", wrong, *out)
    wrong = f"{both},method=ddrm"
    assert "ddrm is a sampler, not a guidance" in refused(*given, "--guidance", wrong, *out)


def test_holes_of_a_measurement(sdekit: CLI, refused: Callable[..., str], digits_run: Path, tmp_path: Path) -> None:
    """NaN is not measured by a mask, whose share is printed, and is refused for another operator."""
    y = np.full((8, 8), 16.0)
    y[4:] = np.nan
    np.save(tmp_path / "y.npy", y)
    given = ("restore", digits_run, "--measurement", tmp_path / "y.npy", "-n", 1, "--steps", 2)
    result = sdekit(*given, "--operator", "mask", "--out", tmp_path / "a")
    assert result.code == 0 and "the mask measures 50.0% of a sample: the numbers of the measurement" in result.err
    assert np.load(tmp_path / "a" / "measurement.npy")[0].tolist() == np.nan_to_num(y).tolist()
    message = refused(*given, "--operator", "identity", "--out", tmp_path / "b")
    assert "32 of 64 numbers are missing" in message and "use --operator mask" in message


def test_a_photo_of_another_size(sdekit: CLI, refused: Callable[..., str], digits_run: Path, tmp_path: Path) -> None:
    """A clean photo is cropped and resized by --resize; a measurement never is, and the message has the reason."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 4)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    given = ("restore", digits_run, "--operator", "super-resolution", "-n", 1, "--steps", 2, "--out", tmp_path / "r")
    trial = (*given, "--degrade", tmp_path / "photo.png")
    message = refused(*trial)
    assert "has 20x12 pixels, but samples of this run have 8x8: add --resize" in message
    result = sdekit(*trial, "--resize")
    assert result.code == 0 and "pixels are blended with white" in " ".join(result.err.split())
    assert json.loads((tmp_path / "r" / "restore.json").read_text())["resize"] is True
    expected = decode_image((tmp_path / "photo.png").read_bytes(), 8, 1)[0] / 255 * 16
    measured = np.load(tmp_path / "r" / "measurement.npy")[0]
    np.testing.assert_allclose(measured, expected.reshape(4, 2, 4, 2).mean((1, 3)), atol=1e-6)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "y.png")
    known = (*given[:-1], tmp_path / "s", "--measurement", tmp_path / "y.png")
    for message in (refused(*known), refused(*known, "--resize")):
        assert "A(x) + noise" in message and "--degrade FILE --resize" in message
