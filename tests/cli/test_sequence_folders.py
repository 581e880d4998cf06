"""A folder of CSV files from training to forecasts, with the files of the documentation."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .conftest import FAST


def test_from_a_folder_to_forecasts(sdekit: Callable[..., Any], tmp_path: Path) -> None:
    """Samples have the format and the channels of the data, and the first rows of one are a measurement."""
    (folder := tmp_path / "sensors").mkdir()
    time = np.arange(96) / 10
    for i in range(4):
        values = np.c_[time, np.sin(time + i), np.cos(time)]
        np.savetxt(folder / f"{i}.csv", values, delimiter=",", header="time,force,torque", comments="")
    network = ("--option", "network.width=8", "--option", "data.length=16")
    data = ("--data", f"sequences:{folder}", *network, "--steps", 2, *FAST)
    assert sdekit("train", *data, "--out", tmp_path / "run").code == 0
    assert sdekit("sample", tmp_path / "run", "-n", 2, "--nfe", 2, "--out", tmp_path / "samples").code == 0
    assert {"lines.png", "samples.npy", "sequences"} <= set(os.listdir(tmp_path / "samples"))
    lines = (tmp_path / "samples" / "sequences" / "1.csv").read_text().splitlines()
    assert len(lines) == 17 and lines[0] == "force,torque"
    (tmp_path / "start.csv").write_text("\n".join(lines[:9]) + "\n")
    measured = ("--operator", "mask", "--measurement", tmp_path / "start.csv", "-n", 2, "--steps", 2)
    assert sdekit("restore", tmp_path / "run", *measured, "--out", tmp_path / "forecast").code == 0
    drawn, start = np.load(tmp_path / "forecast" / "samples.npy"), np.load(tmp_path / "samples" / "samples.npy")[1]
    assert drawn.shape == (2, *start.shape) and "before-after.png" in os.listdir(tmp_path / "forecast")
