"""`sample`, `edit` and `restore` on a model in the format of a loader plugin, and on an export."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit import registry

CLI = Callable[..., Any]
LOADER = """
import numpy as np
import torch
from sdekit import VE, OpenedModel, ScoreModel, hookimpl
from torch import nn


def linear(path):
    "Denoiser x_0 = x W with W (2, 2) from a .npy file."
    network = nn.Linear(2, 2, bias=False)
    network.weight.data = torch.from_numpy(np.load(path)).float()

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x, c_noise, y=None):
            return self.inner(x)

    return OpenedModel(model=ScoreModel(Network(), VE(), "x0"), shape=(2,), grid="log-snr")


@hookimpl
def sdekit_loaders():
    return {"acme-linear": linear}
"""


@pytest.fixture
def linear(tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """Arguments that open a file of the loader by its plugin."""
    (tmp_path / "acme_linear.py").write_text(LOADER)
    np.save(tmp_path / "weight.npy", 0.1 * np.eye(2))
    yield f"acme-linear:{tmp_path / 'weight.npy'}", "--plugin", tmp_path / "acme_linear.py"
    registry.forget_plugin_files()


def test_commands_open_the_format_of_a_loader(sdekit: CLI, linear: tuple[str, str, Path], tmp_path: Path) -> None:
    """The commands that draw samples take LOADER:PATH; the grid that the model recommends is the default."""
    np.save(tmp_path / "x.npy", np.array([0.5, 0.2]))
    commands: dict[str, tuple[object, ...]] = {
        "sample": ("--solver", "ddim"),
        "edit": ("--image", tmp_path / "x.npy"),
        "restore": ("--operator", "identity", "--measurement", tmp_path / "x.npy", "--noise-std", 0.1),
    }
    for command, options in commands.items():
        result = sdekit(command, *linear, *options, "--steps", 4, "-n", 3, "--out", tmp_path / command, "--json")
        assert result.code == 0, result.err
        assert np.load(tmp_path / command / "samples.npy").shape == (3, 2)
        record = json.loads((tmp_path / command / f"{command}.json").read_text())
        assert record["run"] == linear[0] and record["run_step"] is None and record["grid"] == "log-snr"
    chosen = ("--solver", "ddim", "--steps", 4, "-n", 3, "--grid", "karras")
    assert sdekit("sample", *linear, *chosen, "--out", tmp_path / "chosen").code == 0
    assert json.loads((tmp_path / "chosen" / "sample.json").read_text())["grid"] == "karras"


def test_a_path_that_needs_its_loader(refused: CLI, tmp_path: Path) -> None:
    """An unknown loader is refused with a suggestion before anything is written."""
    message = refused("sample", "rnu:somewhere", "--out", tmp_path / "s")
    assert "no loader 'rnu'; did you mean 'run'?" in message
