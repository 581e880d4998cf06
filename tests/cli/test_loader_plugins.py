"""A loader in a plugin file: the commands open its format as LOADER:PATH."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit import registry

CLI = Callable[..., Any]
PLUGIN = ("--plugin", Path(__file__).parents[2] / "examples" / "single_files" / "acme_loader.py")


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
def matrix(tmp_path: Path) -> Iterator[str]:
    """LOADER:PATH of a linear denoiser of two numbers."""
    np.savez(tmp_path / "model.npz", weight=np.array([[0.5, 0.1], [0.0, 0.4]]))
    yield f"acme-matrix:{tmp_path / 'model.npz'}"
    registry.forget_plugin_files()


def test_info(sdekit: CLI, matrix: str) -> None:
    """Format, shape, process, prediction, condition and size of a model are printed."""
    result = sdekit("info", matrix, *PLUGIN, "--json")
    assert result.code == 0, result
    fields = json.loads(result.out)
    assert fields["format"] == "acme-matrix" and fields["shape"] == [2] and fields["rows"] == 2
    assert fields["process"] == {"name": "VE", "options": {"sigma_min": 0.01, "sigma_max": 50.0}} | fields["process"]
    assert (fields["prediction"], fields["condition"], fields["parameters"]) == ("x0", "none", 4)
    assert "acme-matrix" in sdekit("info", matrix, *PLUGIN).out


def test_bench(sdekit: CLI, matrix: str) -> None:
    """Samplers are compared on the model."""
    result = sdekit("bench", matrix, "--solver", "ddim", "--nfe", 4, "-n", 2, "--json", *PLUGIN)
    assert result.code == 0, result
    assert json.loads(result.out)["run"] == matrix


def test_tune_writes_nothing(sdekit: CLI, matrix: str, tmp_path: Path) -> None:
    """The result is printed, not stored: sdekit writes into its own folders only."""
    result = sdekit("tune", matrix, "--solver", "heun", "--nfe", 5, "-n", 8, "--held-out", 8, *PLUGIN)
    assert result.code == 0, result
    assert "is not a run folder, so nothing was stored" in " ".join(result.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
    result = sdekit("tune", matrix, "--nfe", 4, "-n", 8, "--held-out", 8, "--json", *PLUGIN)
    (tuned,) = json.loads(result.out)["tuned"]
    assert tuned["file"] is None and len(tuned["levels"]) == 3


def test_export(sdekit: CLI, matrix: str, tmp_path: Path) -> None:
    """The export needs no plugin."""
    result = sdekit("export", matrix, "--format", "torch", *PLUGIN)
    assert result.code == 0, result
    registry.forget_plugin_files()
    result = sdekit("info", tmp_path / "model-torch", "--trust", "--json")
    fields = json.loads(result.out)
    assert fields["format"] == "export" and fields["shape"] == [2] and fields["process"]["name"] == "VE"


def test_a_bare_path(refused: Callable[..., str], matrix: str) -> None:
    """A path without its loader is answered with the loader."""
    message = refused("bench", matrix.partition(":")[2], "--json", *PLUGIN)
    assert f"is not a run folder; did you mean {matrix}?" in message


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
