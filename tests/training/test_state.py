"""Networks with tied, frozen and unused weights: trained, saved, resumed bit for bit, and loaded as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sdekit import registry
from sdekit.data import Dataset
from sdekit.errors import InputError
from sdekit.runs import CHECKPOINT, MODEL, Recipe, load_run
from sdekit.training import EMA, Trainer, plan, train
from sdekit.training.ema import swapped

PLUGIN = '''
import torch
from torch import nn
from sdekit import hookimpl

class Odd(nn.Module):
    """A network of one odd kind."""

    def __init__(self, shape: tuple[int, ...], classes: int = 0, *, mode: str = "tied") -> None:
        super().__init__()
        self.options, self.mode = {"mode": mode}, mode
        self.a, self.b, self.c, self.d = (nn.Linear(2, 2) for _ in range(4))
        if mode == "tied":
            self.b.weight = self.a.weight
        if mode == "shared":  # two parameters, and a part of one, in one place
            self.b.weight = nn.Parameter(self.a.weight.data)
            self.register_buffer("part", self.a.weight.data[:1])
        if mode == "frozen":
            self.b.requires_grad_(False)
        if mode == "all-frozen":
            self.requires_grad_(False)

    def forward(self, x: torch.Tensor, c_noise: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        x = self.d(self.b(torch.tanh(self.a(x))))
        if self.mode == "seldom":  # in some steps only, by the noise that happens to come first
            return self.c(x) if c_noise[0] > 0 else x
        return x if self.mode == "unused" else self.c(x)

@hookimpl
def sdekit_networks() -> dict[str, type]:
    return {"odd": Odd}
'''
KINDS = ["tied", "shared", "frozen", "unused", "seldom"]
Odd = Callable[..., tuple[Recipe, Dataset]]


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Odd]:
    """odd(kind, **train): the recipe of a network of that kind, on 200 points."""
    (tmp_path / "odd_network.py").write_text(PLUGIN)
    registry.load_plugin_file(tmp_path / "odd_network.py")

    def make(kind: str, **train: Any) -> tuple[Recipe, Dataset]:
        options = {"steps": 12, "batch_size": 8, "log_every": 5, "preview_every": 0.0, "ema": 0.2, **train}
        given = {"data": {"n": 200}, "network": {"mode": kind}, "train": options}
        return plan("moons", network="odd", options=given)

    yield make
    registry.forget_plugin_files()


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_run_is_the_same_run(
    tmp_path: Path, odd: Odd, go: Callable[..., Trainer], same_run: Callable[[Path, Path], None], kind: str
) -> None:
    """Every bit, how often each weight was updated included."""
    recipe, data = odd(kind, checkpoint_every=4)
    whole = train(recipe, data, tmp_path / "whole")
    go(Trainer(recipe, data, tmp_path / "parts"), 5)
    parts = train(recipe, data, tmp_path / "parts", resume=True)
    same_run(tmp_path / "whole", tmp_path / "parts")
    counts = [[one.optimizer.state.get(w, {}).get("step") for w in one.weights.values()] for one in (whole, parts)]
    assert counts[0] == counts[1]
    assert (None in counts[0]) is (kind == "unused")
    assert any(0 < count < 12 for count in counts[0] if count is not None) is (kind == "seldom")


@pytest.mark.parametrize("kind", KINDS)
def test_loaded_is_the_average(tmp_path: Path, odd: Odd, kind: str) -> None:
    """The loaded network has averaged weights under each of their names, and the others as they were."""
    trainer = train(*odd(kind), tmp_path / "run")
    start = trainer.recipe.build().network
    network = load_run(tmp_path / "run").model.network
    average = dict(zip(trainer.weights, trainer.ema.average, strict=True))
    assert all(torch.equal(network.get_parameter(name), value) for name, value in average.items())
    assert not any(torch.equal(value, trainer.weights[n]) for n, value in average.items() if not n.startswith("c"))
    if kind in ("tied", "shared"):
        assert torch.equal(network.get_parameter("b.weight"), network.get_parameter("a.weight"))
    if kind == "shared":
        assert torch.equal(network.get_buffer("part"), network.get_parameter("a.weight")[:1])
    if kind == "frozen":
        assert "b.weight" not in average
        assert torch.equal(network.get_parameter("b.weight"), start.get_parameter("b.weight"))
    if kind == "unused":
        assert torch.equal(network.get_parameter("c.weight"), start.get_parameter("c.weight"))


@pytest.mark.parametrize("kind", ["tied", "shared"])
def test_saved_once(tmp_path: Path, odd: Odd, kind: str) -> None:
    """Of a tensor with two names the files hold the first."""
    train(*odd(kind), tmp_path / "run")
    assert "a.weight" in load_file(tmp_path / "run" / MODEL) and "b.weight" not in load_file(tmp_path / "run" / MODEL)
    assert "weights.b.weight" not in load_file(tmp_path / "run" / CHECKPOINT)


@pytest.mark.parametrize("kind", ["tied", "frozen"])
def test_optimizer_has_each_trained_weight_once(tmp_path: Path, odd: Odd, kind: str) -> None:
    trainer = Trainer(*odd(kind), tmp_path / "run")
    given = [id(p) for group in trainer.optimizer.param_groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in trainer.weights.values()) and len(given) == len(set(given))


def test_nothing_to_train(tmp_path: Path, odd: Odd) -> None:
    """Said before anything is written."""
    recipe, data = odd("all-frozen")
    with pytest.raises(InputError, match="the network, Odd, has no weights that can be trained"):
        Trainer(recipe, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_average_of_weights_in_one_place() -> None:
    """Swapped in and out again, both the weights and their averages are as they were."""
    one = torch.tensor([1.0, 2.0])
    other = one.view(2)
    ema = EMA([one, other], 0.1)
    for average in ema.average:
        average.fill_(5.0)
    with swapped([one, other], ema.average):
        assert one.tolist() == [5.0, 5.0]
    assert one.tolist() == [1.0, 2.0] and [average.tolist() for average in ema.average] == [[5.0, 5.0]] * 2
