"""`sdekit encode`, `decode` and `interpolate`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CLI = Callable[..., Any]


def test_encode_and_decode_return_the_data(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """Decoded latents are the encoded data, and the reported error is small."""
    result = sdekit("encode", digits_run, "-n", 2, "--out", tmp_path / "z", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["round_trip_rmse"] < 1e-3
    assert {"latents.npy", "encode.json", "round-trip.png"} <= set(os.listdir(tmp_path / "z"))
    assert sdekit("decode", digits_run, "--latents", tmp_path / "z", "--out", tmp_path / "x").code == 0
    from sdekit.data import digits

    items = json.loads((tmp_path / "z" / "encode.json").read_text())["items"]
    data = digits()
    original = data.units.to_data(data.batch(items).x)
    assert np.abs(np.load(tmp_path / "x" / "samples.npy") - original).max() < 0.1


def test_ddim_inversion(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """Any deterministic solver encodes; more steps return the data better."""
    errors = []
    for steps in (5, 60):
        given = ("--solver", "ddim", "--steps", steps, "-n", 8, "--out", tmp_path / str(steps), "--json")
        result = sdekit("encode", moons_run, *given)
        assert result.code == 0, result.err
        errors.append(json.loads(result.out)["round_trip_rmse"])
    assert errors[1] < errors[0]


def test_interpolation_between_seeds(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """The ends are the samples of the two seeds, and the strip and the animation show all frames."""
    out = tmp_path / "strip"
    given = ("--seeds", "3,7", "--frames", 3, "--solver", "heun", "--steps", 6, "--out", out)
    assert sdekit("interpolate", digits_run, *given).code == 0
    assert np.load(out / "samples.npy").shape[0] == 3
    with Image.open(out / "strip.gif") as animation:
        assert animation.n_frames == 4  # there and back
    assert (out / "strip.png").exists()


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("encode", ("--solver", "euler-ancestral"), "draws noise"),
        ("encode", ("--data", "moons"), "shape"),
        ("encode", ("--tolerance", 1e-9), "float64"),
        ("encode", ("--batch-size", 0), "--batch-size"),
        ("encode", ("--guidance", "cgf"), "cfg"),
        ("interpolate", ("--seeds", "3,4", "--tolerance", 1e-9), "float64"),
        ("interpolate", (), "--seeds A,B"),
        ("interpolate", ("--seeds", "3"), "two seeds"),
        ("interpolate", ("--seeds", "3,4", "--frames", 1), "--frames"),
    ],
)
def test_wrong_input_is_refused(
    sdekit: CLI, digits_run: Path, tmp_path: Path, command: str, arguments: tuple[object, ...], message: str
) -> None:
    """One message names the problem, and nothing is written."""
    result = sdekit(command, digits_run, *arguments, "--out", tmp_path / "a")
    assert result.code == 2 and message in result.err and not (tmp_path / "a").exists()


def test_labels_and_numbers_are_stored_with_the_latents(
    sdekit: CLI, moons_run: Path, numbers_run: Path, tmp_path: Path
) -> None:
    """decode uses the conditions that encode stored, in batches of any size, or those of its options."""
    for name, run, other in (("moons", moons_run, ("--label", 0)), ("numbers", numbers_run, ("--condition", "190"))):
        z, how = tmp_path / name, ("--solver", "heun", "--steps", 40)
        assert sdekit("encode", run, "-n", 5, *how, "--batch-size", 2, "--out", z).code == 0
        error = json.loads((z / "encode.json").read_text())["round_trip_rmse"]
        assert error < 0.05
        samples = []
        for given in (("--batch-size", 3), (), other):
            out = tmp_path / f"{name}-{len(samples)}-{len(given)}"
            assert sdekit("decode", run, "--latents", z, *how, *given, "--out", out).code == 0
            samples.append(np.load(out / "samples.npy"))
        assert np.allclose(samples[0], samples[1], atol=1e-4) and not np.allclose(samples[0], samples[2], atol=1e-3)


def test_decode_checks_the_latents(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """Latents of another shape, with a NaN, or no file at all are refused."""
    np.save(tmp_path / "wrong.npy", np.zeros((2, 3)))
    np.save(tmp_path / "nan.npy", np.full((1, 1, 8, 8), np.nan))
    for name, message in (("wrong.npy", "shape (2, 3)"), ("nan.npy", "row 0"), ("none.npy", "none.npy")):
        result = sdekit("decode", digits_run, "--latents", tmp_path / name, "--out", tmp_path / "a")
        assert result.code == 2 and message in result.err


def test_other_files_are_not_replaced(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """A folder with other files is refused, with --overwrite too."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("text")
    result = sdekit("encode", moons_run, "-n", 2, "--out", tmp_path / "a", "--overwrite")
    assert result.code == 2 and "thesis.tex" in result.err
