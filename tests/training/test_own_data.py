"""Training on Python objects and with networks of the user's own, and what the run folders say about them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import sdekit
from sdekit.data import digits
from sdekit.errors import InputError
from sdekit.runs import Run, read_recipe
from sdekit.training import Trainer, load_data, open_real_data, plan
from sdekit_cli.app import main

X, Y = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2


class Denoiser(nn.Module):
    """A network of two arguments."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map x (B, 2) and t (B,) to (B, 2)."""
        return self.layers(torch.cat([x, t[:, None]], 1))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a TensorDataset with a network of the user's own."""
    out = tmp_path_factory.mktemp("own") / "run"
    return sdekit.train(TensorDataset(X, Y), out, network=Denoiser(), steps=3)


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """command(*arguments) runs the command line, and returns its exit code and output in one line."""

    def call(*arguments: Any) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return int(end.value.code or 0), " ".join("".join(capsys.readouterr()).split())

    return call


def test_the_result_is_a_run_with_averaged_weights(run: Run) -> None:
    """The result of train draws samples at once, and equals the run that is loaded from the folder."""
    assert run.step == 3 and run.shape == (2,) and not run.model.training
    loaded = sdekit.load_run(run.path, network=Denoiser())
    drawn = [sdekit.sample(r.model.sde, r.model, "ddim", shape=(2,), n=2, steps=3).x for r in (run, loaded)]
    assert torch.equal(*drawn)


def test_the_recipe_names_the_objects(run: Run) -> None:
    """config.json contains the classes of the objects, and a fingerprint of the data."""
    config = json.loads((run.path / "config.json").read_text())
    assert config["data"]["name"] == "python:TensorDataset" and config["fingerprint"]
    assert config["network"] == {"name": f"python:{__name__}:Denoiser", "options": {}}
    assert config["classes"] == 2 and "own_network" not in config


def test_no_code_is_imported_unless_trusted(run: Run, command: Command) -> None:
    """Without the network, opening the run is refused; with trust its class is imported."""
    with pytest.raises(InputError, match=r"Denoiser of the Python module .*load_run\(path, network=\.\.\.\)"):
        sdekit.load_run(run.path)
    code, output = command("sample", run.path, "--out", run.path.parent / "samples", "-n", 2)
    assert code == 2 and "--trust imports it" in output and not (run.path.parent / "samples").exists()
    assert "Denoiser" in command("info", run.path)[1]


def test_trust_imports_the_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """A class with its recorded options is imported by --trust in another process."""
    source = Path(__file__).read_text().split("class Denoiser")[1].split("\n\n\n")[0]
    (tmp_path / "own_module.py").write_text(f"import torch\nfrom torch import Tensor, nn\n\nclass Denoiser{source}")
    monkeypatch.syspath_prepend(tmp_path)
    from own_module import Denoiser as Imported  # type: ignore[import-not-found]

    sdekit.train(X, tmp_path / "run", network=Imported, options={"network": {"width": 5}}, steps=2)
    code, output = command("sample", tmp_path / "run", "--trust", "--out", tmp_path / "samples", "-n", 2, "--steps", 2)
    assert code == 0, output
    assert np.load(tmp_path / "samples" / "samples.npy").shape == (2, 2)


def test_other_weights_are_refused(run: Run) -> None:
    """A network of another width does not fit."""
    with pytest.raises(InputError, match="does not fit the network of the class Denoiser as it was created"):
        sdekit.load_run(run.path, network=Denoiser(4))
    with pytest.raises(InputError, match="must be a registered name, an nn.Module"):
        sdekit.load_run(run.path, network=3)


def test_resuming_takes_the_same_data_and_network(tmp_path: Path) -> None:
    """A resumed run equals an uninterrupted one, and other data are refused."""
    data = TensorDataset(X, Y)
    whole = sdekit.train(data, tmp_path / "whole", network=Denoiser, steps=6, seed=1)
    recipe, items = plan(data, network=Denoiser, options={"train": {"steps": 6, "seed": 1}})
    trainer = Trainer(recipe, items, tmp_path / "run")
    for step in trainer.run():
        if step.step == 3:
            trainer.stop()
    with pytest.raises(InputError, match="Python object .TensorDataset., which a run folder does not contain"):
        sdekit.train(out=tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="not what the run was trained on"):
        sdekit.train(TensorDataset(X.flip(0), Y), tmp_path / "run", resume=True, network=Denoiser)
    with pytest.raises(InputError, match="pass it"):
        sdekit.train(data, tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="takes all options from the run"):
        sdekit.train(data, tmp_path / "run", resume=True, network=Denoiser, seed=2)
    resumed = sdekit.train(data, tmp_path / "run", resume=True, network=Denoiser)
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_commands_that_need_the_data_say_so(tmp_path: Path, command: Command) -> None:
    """The data of a Python object cannot be opened again: the message names the remedy, and nothing is written."""
    run = sdekit.train(X, tmp_path / "run", steps=2)
    for arguments in (
        ("train", "--out", run.path, "--resume"),
        ("evaluate", run.path, "-n", 4),
        ("nll", run.path, "--out", tmp_path / "nll"),
        ("train-classifier", run.path, "--out", tmp_path / "classifier"),
    ):
        code, output = command(*arguments)
        assert code == 2 and "Python object (Tensor)" in output and "sdekit.train(data" in output, output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert command("sample", run.path, "--out", tmp_path / "samples", "-n", 2, "--steps", 2)[0] == 0
    assert command("train", "--data", "python:Tensor", "--out", tmp_path / "other")[0] == 2


def test_objects_are_the_reference_of_an_evaluation(run: Run) -> None:
    """The data of the run give its held-out items, and other data of the same class all their items."""
    own = open_real_data(run, TensorDataset(X, Y))
    assert own.training_data is not None and "training items" in own.part
    other = open_real_data(run, TensorDataset(X + 1, Y))
    assert other.training_data is None and len(other.candidates) == 64


def test_paths_are_specs(tmp_path: Path) -> None:
    """The kind of data at a path is inferred from the path."""
    np.save(tmp_path / "x.npy", X.numpy())
    recipe, data = plan(tmp_path / "x.npy", options={"train": {"steps": 1}})
    assert recipe.data.name == f"array:{tmp_path / 'x.npy'}" and len(data) == 64
    with pytest.raises(InputError, match="no file or folder has that name"):
        plan(tmp_path / "missing.npy")
    (tmp_path / "x.dat").touch()
    with pytest.raises(InputError, match="a path without its kind"):
        plan(tmp_path / "x.dat")


def test_data_sets_of_sdekit_are_data(tmp_path: Path) -> None:
    """A data set object of sdekit gives the same weights as its name, because only the record differs."""
    one = sdekit.train(digits(), tmp_path / "one", steps=2, network="mlp")
    two = sdekit.train("digits", tmp_path / "two", steps=2, network="mlp")
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert read_recipe(tmp_path / "one").data.name == "python:InMemoryDataset"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X,), {}, r"expected train\(data, out='run'\)"),
        ((X, 3), {}, "train: out"),
        ((X, "run"), {"options": {"data": {"labels": "none"}}}, "no option of Python data named 'labels'.*label"),
        ((X, "run"), {"options": {"data": {"layout": 3}}}, "layout must be one of"),
        ((X, "run"), {"condition": "label"}, "'python:Tensor' has no labels"),
        ((X, "run"), {"network": Denoiser, "options": {"train": {"augment": 0.1}}}, "augment"),
        ((X, "run"), {"progress": 1}, "train: progress must be"),
        ((X, "run"), {"network": "unett"}, "did you mean 'unet'"),
        (("python:Tensor", "run"), {}, "the record of a Python object"),
    ],
)
def test_wrong_calls_write_nothing(
    arguments: Any, options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong arguments are refused before the folder is created."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        sdekit.train(*arguments, **options)
    assert not list(tmp_path.iterdir())


def test_progress_reports_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A function receives the steps, and True prints a line on stderr; without either there is no output."""
    seen: list[tuple[int, int | None]] = []
    sdekit.train(X, tmp_path / "run", network="mlp", steps=3, progress=lambda *p: seen.append(p))
    assert seen == [(1, 3), (2, 3), (3, 3)] and capsys.readouterr() == ("", "")
    sdekit.train(X, tmp_path / "run", resume=True, steps=5, progress=True)
    assert capsys.readouterr().err.startswith("training mlp: 5/5 steps")


def test_a_recipe_and_its_data_give_the_trainer(tmp_path: Path) -> None:
    """The results of plan are trained as they are."""
    recipe, data = plan(X, options={"train": {"steps": 2}})
    assert isinstance(sdekit.train(recipe, data, tmp_path / "run"), Trainer)
    with pytest.raises(InputError, match="a recipe contains all options"):
        sdekit.train(recipe, data, tmp_path / "other", steps=3)


def test_data_options_of_objects_are_recorded() -> None:
    """The options of a Python object are part of the recipe."""
    _, component = load_data(torch.zeros(4, 3, 6, 3).normal_(), layout="channels-last")
    assert component.options["layout"] == "channels-last" and component.options["scale"] == "auto"
