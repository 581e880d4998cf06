"""open_model: run folders, exports, and the formats of loader plugins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sdekit import VE, ScoreModel, registry
from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.models import Conditioning, OpenedModel, open_model

LOADER = Path(__file__).parents[2] / "examples" / "single_files" / "acme_loader.py"
BARE = """
from torch import nn
from sdekit import VE, ScoreModel, hookimpl

def bare(path):
    return ScoreModel(nn.Identity(), VE(), "x0")

def pair(path):
    return bare(path), (3, 4, 4)

def text(path):
    return "text"

@hookimpl
def sdekit_loaders():
    return {"acme-bare": bare, "acme-pair": pair, "acme-text": text}
"""


@pytest.fixture
def matrix(tmp_path: Path) -> Iterator[Path]:
    """A file of the example loader, which is in use."""
    np.savez(tmp_path / "model.npz", weight=0.5 * np.eye(3))
    registry.load_plugin_file(LOADER)
    yield tmp_path / "model.npz"
    registry.forget_plugin_files()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[None]:
    """Loaders that do not return an OpenedModel."""
    (tmp_path / "bare.py").write_text(BARE)
    registry.load_plugin_file(tmp_path / "bare.py")
    yield
    registry.forget_plugin_files()


def test_a_plugin_opens_its_format(matrix: Path) -> None:
    """LOADER:PATH opens a file with that loader; the model is in evaluation mode and has no gradients."""
    opened = open_model(f"acme-matrix:{matrix}", backend="eager")
    assert type(opened) is OpenedModel and opened.shape == (3,) and opened.path == matrix
    assert opened.facts == {"format": "acme-matrix", "rows": 3} and opened.condition == "none"
    assert not opened.model.training and not any(p.requires_grad for p in opened.model.parameters())
    assert opened.model.backend is not None
    with pytest.raises(InputError, match="weights of one step only: leave out step=3"):
        open_model(f"acme-matrix:{matrix}", step=3)


def test_a_bare_path_is_answered_with_its_loader(matrix: Path, tmp_path: Path) -> None:
    """A path that a plugin recognises needs the plugin's name; other paths are no run folders."""
    with pytest.raises(InputError, match=f"model.npz is not a run folder; did you mean acme-matrix:{matrix}"):
        open_model(matrix)
    with pytest.raises(InputError, match="no loader 'acme-matirx'; did you mean 'acme-matrix'"):
        open_model(f"acme-matirx:{matrix}")
    with pytest.raises(InputError, match="has no path after the colon: write acme-matrix:PATH"):
        open_model("acme-matrix:")
    with pytest.raises(InputError, match="no such run folder"):
        open_model(tmp_path / "none")


def test_a_bare_model_needs_a_shape(bare: None) -> None:
    """A loader may return a ScoreModel: its shape comes from the loader or from the caller."""
    with pytest.raises(InputError, match="'acme-bare' returned a ScoreModel without the shape of a sample"):
        open_model("acme-bare:file")
    assert open_model("acme-bare:file", shape=(2,)).shape == (2,)
    opened = open_model("acme-pair:file")
    assert opened.shape == (3, 4, 4) and opened.kind == "image"
    with pytest.raises(InputError, match="'acme-text' returned str for file: expected an OpenedModel"):
        open_model("acme-text:file")


def test_facts_of_an_opened_model() -> None:
    """Conditions come from the model, units convert there and back, classes default to the model's labels."""
    condition = Conditioning(classes=3)
    model = ScoreModel(torch.nn.Identity(), VE(), "x0", data_std=0.5, condition=condition)
    opened = OpenedModel(model=model, shape=(2,), units=Units(shift=1.0, scale=2.0))
    assert (opened.condition, opened.classes, opened.data_std) == ("label", 3, 0.5)
    y = opened.examples(4)
    assert y is not None and y.tolist() == [0, 1, 2, 0]
    data = np.array([[1.0, 5.0]])
    assert opened.to_model(data).tolist() == [[0.0, 2.0]]
    assert np.array_equal(opened.to_data(opened.to_model(data)), data)
