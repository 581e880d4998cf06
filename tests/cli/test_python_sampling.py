"""`load_run(path).sample(...)`: the numbers of `sdekit sample`, with the names and units of the run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdekit import load_run, open_model
from sdekit.errors import InputError
from sdekit.registry import build
from sdekit.tuning import Tuned, save_tuned

CLI = Callable[..., Any]
SAME: list[tuple[str, dict[str, Any]]] = [
    ("-n 3 --nfe 4", {"n": 3, "nfe": 4}),
    ("--seeds 3,7-8 --steps 3 --solver ddim:eta=0.5", {"seeds": (3, 7, 8), "steps": 3, "solver": "ddim:eta=0.5"}),
    ("-n 2 --steps 3 --grid uniform --guidance clip", {"n": 2, "steps": 3, "grid": "uniform", "guidance": "clip"}),
    ("-n 2 --steps 3 --solver ddpm --noise brownian", {"n": 2, "steps": 3, "solver": "ddpm", "noise": "brownian"}),
]


@pytest.mark.parametrize("written, given", SAME, ids=[written for written, _ in SAME])
def test_numbers_are_those_of_the_command(
    sdekit: CLI, digits_run: Path, tmp_path: Path, written: str, given: dict[str, Any]
) -> None:
    """Equal options give equal samples, bit by bit."""
    assert sdekit("sample", digits_run, "--out", tmp_path / "s", *written.split()).code == 0
    samples = load_run(digits_run).sample(**given)
    assert np.array_equal(samples.to_numpy(), np.load(tmp_path / "s" / "samples.npy"))
    assert samples.kind == "image" and samples.units.high == 16


def test_labels_are_names_or_positions(sdekit: CLI, dropped_run: Path, tmp_path: Path) -> None:
    """A class by its name, its position or among several gives the samples of --label; without it the seed chooses."""
    run = load_run(dropped_run)
    options: dict[str, Any] = {"n": 4, "steps": 2}
    for written, label in (("--label 1", 1), ("--label 1", "1"), ("--label 1,0", (1, "0")), ("", None)):
        arguments = ("--out", tmp_path, "--overwrite", "-n", 4, "--steps", 2, *written.split())
        assert sdekit("sample", dropped_run, *arguments).code == 0
        samples = run.sample(**options, label=label)
        assert np.array_equal(samples.to_numpy(), np.load(tmp_path / "samples.npy"))
    assert run.sample(**options, label=np.int64(1)).class_names == ["1"] * 4
    assert run.sample(**options, y=torch.tensor([1, 0, 0, 1])).class_names == ["1", "0", "0", "1"]
    for wrong in ("eleven", 11, 2.5, True, []):
        with pytest.raises(InputError, match=r"class|label"):
            run.sample(**options, label=wrong)
    with pytest.raises(InputError, match="not both"):
        run.sample(**options, label=3, y=torch.zeros(4).long())
    with pytest.raises(InputError, match="not trained on numbers"):
        run.sample(**options, condition=[1.0])
    guided = {"n": 4, "steps": 2, "label": 0, "guidance": ["cfg:scale=2"]}
    arguments = ("--out", tmp_path, "--overwrite", "-n", 4, "--steps", 2, "--label", 0, "--guidance", "cfg:scale=2")
    assert sdekit("sample", dropped_run, *arguments).code == 0
    assert np.array_equal(run.sample(**guided).to_numpy(), np.load(tmp_path / "samples.npy"))


def test_numbers_condition_in_their_own_units(sdekit: CLI, numbers_run: Path, tmp_path: Path) -> None:
    """A number, a row, a row for each sample and a mapping from names give the samples of --condition."""
    run, options = load_run(numbers_run), {"n": 3, "steps": 3}
    command = ("--out", tmp_path / "s", "-n", 3, "--steps", 3, "--condition", 150)
    assert sdekit("sample", numbers_run, *command).code == 0
    for condition in (150, [150], [[150], [150], [150]], {"w": 150}, np.array([150.0])):
        samples = run.sample(**options, condition=condition)
        assert np.array_equal(samples.to_numpy(), np.load(tmp_path / "s" / "samples.npy"))
    assert sorted(samples.to_columns()) == ["x", "z"]
    assert samples.save(tmp_path / "a.csv").read_bytes() == (tmp_path / "s" / "samples.csv").read_bytes()
    for wrong in ([1, 2], "x", [float("nan")], {"v": 1}):
        with pytest.raises(InputError, match="condition"):
            run.sample(**options, condition=wrong)


def test_tuned_times_are_used(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """A run that `sdekit tune` has tuned gives the tuned samples in Python too."""
    run = tmp_path / "run"
    shutil.copytree(moons_run, run)
    untuned = load_run(run).sample(3, "ddim", nfe=4)
    tuned = Tuned(calls=4, levels=(20.0, 2.0, 0.05), gains=(), starts=1, untuned=1.0, tuned=0.5)
    save_tuned(run, "ddim", asdict(build("sampler", "ddim")), tuned)
    assert sdekit("sample", run, "--out", tmp_path / "s", "-n", 3, "--solver", "ddim", "--nfe", 4).code == 0
    samples = load_run(run).sample(3, "ddim", nfe=4)
    assert np.array_equal(samples.to_numpy(), np.load(tmp_path / "s" / "samples.npy"))
    assert not torch.equal(samples.x, untuned.x)


def test_default_is_sixteen_samples(digits_run: Path) -> None:
    """Without n and seeds there are 16 samples with the solver auto."""
    samples = open_model(str(digits_run)).sample(steps=2)
    assert samples.seeds == tuple(range(16)) and samples.solver == "auto" and samples.model is not None
    with pytest.raises(InputError, match="without labels"):
        load_run(digits_run).sample(2, label=3)


def test_run_has_a_short_description(digits_run: Path) -> None:
    """A run, its model and its recipe are described in one line each."""
    run = load_run(digits_run)
    for thing in (run, run.model, run.recipe, run.units, run.model.sde):
        assert len(repr(thing)) < 300 and "\n" not in repr(thing) and "tensor(" not in repr(thing)
    assert "step 4" in repr(run) and "image 1x8x8" in repr(run) and "parameters" in repr(run.model)
