"""open_model: run folders, exports, and the formats of loader plugins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sdekit import VE, ScoreModel, registry
from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.models import Conditioning, OpenedModel, open_model

LOADER = Path(__file__).parents[2] / "examples" / "single_files" / "acme_loader.py"
BARE = """
from torch import nn
from sdekit import VE, OpenedModel, ScoreModel, hookimpl

def bare(path):
    return ScoreModel(nn.Identity(), VE(), "x0")

def pair(path):
    return bare(path), (3, 4, 4)

def text(path):
    return "text"

def choosy(path, *, scale: float = 1.0, size: str = "", heads: int | None = None, device: str = "cpu"):
    return OpenedModel(model=bare(path), shape=(2,), facts={"got": (path, scale, size, heads)})

@hookimpl
def sdekit_loaders():
    return {"acme-bare": bare, "acme-pair": pair, "acme-text": text, "acme-choosy": choosy}
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


def test_options_of_a_loader(bare: None, tmp_path: Path) -> None:
    """LOADER:PATH,option=value passes options of the right types, as does a mapping. A path may contain commas."""

    def got(spec: str, **options: object) -> object:
        return open_model(spec, options=options).facts["got"]

    assert got("acme-choosy:a/b") == ("a/b", 1.0, "", None)
    assert got("acme-choosy:a/b,scale=2,size=8x4") == ("a/b", 2.0, "8x4", None)
    assert got("acme-choosy:a,b/c,heads=4") == ("a,b/c", 1.0, "", 4)
    assert got("acme-choosy:a", scale=3) == ("a", 3.0, "", None)
    (tmp_path / "a,scale=2").touch()
    assert got(f"acme-choosy:{tmp_path}/a,scale=2") == (f"{tmp_path}/a,scale=2", 1.0, "", None)
    with pytest.raises(InputError, match="no option of loader 'acme-choosy' named 'scael'; did you mean 'scale'"):
        got("acme-choosy:a,scael=2")
    with pytest.raises(InputError, match="option scale of loader 'acme-choosy': .* got 'big'"):
        got("acme-choosy:a,scale=big")
    with pytest.raises(InputError, match="device is no option of a loader: write --device"):
        got("acme-choosy:a,device=cpu")


class Halving(torch.nn.Module):
    """A codec of vectors of two numbers, whose latent is half of their sum."""

    data_shape = (2,)

    def encode(self, x: Tensor) -> Tensor:
        """Half of the sum."""
        return x.sum(1, keepdim=True) / 2

    def decode(self, z: Tensor) -> Tensor:
        """Both numbers are the latent."""
        assert len(z) == 1  # one at a time
        return z.expand(-1, 2)


def test_a_model_of_latents() -> None:
    """With a codec, to_data decodes and to_model encodes; data_shape and shape differ; there is no range of x_0."""
    model = ScoreModel(torch.nn.Identity(), VE(), "x0")
    units = Units(shift=1.0, scale=2.0, low=0.0, high=4.0)
    plain = OpenedModel(model=model, shape=(2,), units=units)
    opened = OpenedModel(model=model, shape=(1,), units=units, codec=Halving())
    assert (plain.data_shape, plain.data_range) == ((2,), (-0.5, 1.5))
    assert (opened.data_shape, opened.data_range) == ((2,), None)
    assert opened.to_model(np.array([[1.0, 5.0], [3.0, 3.0]])).tolist() == [[1.0], [1.0]]
    assert opened.to_data(torch.ones(3, 1)).tolist() == [[3.0, 3.0]] * 3


class Lengths(torch.nn.Module):
    """An encoder to the length of the text."""

    def forward(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([[float(len(text))] for text in texts])


def test_a_model_of_texts() -> None:
    """Examples of conditions are encoded texts, and a negative prompt replaces the null condition of the model."""
    seen: list[Tensor] = []

    class Network(torch.nn.Module):
        def forward(self, x: Tensor, c_noise: Tensor, y: Tensor) -> Tensor:
            seen.append(y)
            return x

    condition = Conditioning(embedding=1, null_value=torch.zeros(1, 1))
    opened = OpenedModel(model=ScoreModel(Network(), VE(), "x0", condition=condition), shape=(2,), encoder=Lengths())
    examples = opened.examples(6)
    assert isinstance(examples, Tensor) and examples.shape == (6, 1) and examples[0] == examples[4]
    opened.model(torch.ones(2, 2), 0.5, torch.tensor([[3.0], [torch.nan]]))
    opened.model.set_null(Lengths()(["worst quality"]))
    opened.model(torch.ones(2, 2), 0.5, torch.tensor([[3.0], [torch.nan]]))
    opened.model(torch.ones(1, 2), 0.5)
    assert [y.tolist() for y in seen] == [[[3.0], [0.0]], [[3.0], [13.0]], [[13.0]]]
    with pytest.raises(InputError, match="this model takes an embedding"):
        opened.model.set_null(torch.zeros(1, 2))


def test_a_model_without_null_condition_says_why() -> None:
    """The message of the model replaces the general one, and a null condition that is set later is accepted."""
    condition = Conditioning(embedding=1, null=False, null_refusal="it was distilled")
    model = ScoreModel(torch.nn.Identity(), VE(), "x0", condition=condition)
    with pytest.raises(InputError, match="it was distilled"):
        model(torch.ones(1, 2), 0.5)
    model.set_null(torch.zeros(1, 1))
    assert model.condition is not None and model.condition.null
