"""The examples in single files load and pass the checks of their kind, and there is one for each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from sdekit import registry, verify
from sdekit.errors import InputError

FOLDER = Path(__file__).parents[2] / "examples" / "single_files"
FILES = sorted(FOLDER.glob("*.py"))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """All plugin files are forgotten after each test."""
    yield
    registry.forget_plugin_files()


def provided(path: Path) -> list[registry.Entry]:
    """Return the components that a file provides."""
    registry.load_plugin_file(path)
    return [entry for entry in registry.load_plugins().entries.values() if entry.package == str(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_conforms(path: Path) -> None:
    """Every component passes the checks of its kind, if there are any."""
    for entry in provided(path):
        assert entry.load().__doc__
        if entry.kind in verify.CHECKS_BY_KIND:
            verify.verify(entry.name, kind=entry.kind, quick=True).raise_on_failure()


def test_every_kind_has_an_example() -> None:
    """Every kind has an example; that of samplers is the package examples/acme_sampler."""
    assert {entry.kind for path in FILES for entry in provided(path)} | {"sampler"} == set(registry.KINDS)


def test_the_loader(tmp_path: Path) -> None:
    """The loader opens its format and refuses other files."""
    provided(FOLDER / "acme_loader.py")
    np.savez(tmp_path / "model.npz", weight=2 * np.eye(3))
    model = registry.build("loader", "acme-matrix", tmp_path / "model.npz").model
    with torch.no_grad():
        x0 = model(torch.ones(1, 3), 0.5)
    assert x0.shape == (1, 3) and x0.std() < 1e-6 and x0.mean() > 0
    (tmp_path / "other.npz").write_text("text")
    with pytest.raises(InputError, match="not an .npz file with an array 'weight'"):
        registry.build("loader", "acme-matrix", tmp_path / "other.npz")


def test_the_command() -> None:
    """The hook adds the command to the application."""
    registry.load_plugin_file(FOLDER / "acme_command.py")
    app = typer.Typer()
    app.callback()(lambda: None)
    registry.load_plugins().manager.hook.sdekit_commands(app=app)
    result = CliRunner().invoke(app, ["acme-processes"])
    assert result.exit_code == 0 and "rectified-flow\n" in result.output
