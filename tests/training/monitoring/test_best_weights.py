"""The weights of a run are those of an evaluation whose held-out loss is close to the smallest one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdekit.data import Dataset
from sdekit.runs import CHECKPOINT, CONFIG, MODEL, Recipe, load_json, load_run, load_tensors, read_metrics, save_json
from sdekit.training import Denoising, Trainer, diagnose, plan, train
from sdekit.training.monitoring.best_weights import BestWeights
from sdekit_cli.app import main

Memorised = Callable[..., tuple[Recipe, Dataset]]
STEPS = 100


@pytest.fixture
def memorised(tmp_path: Path) -> Memorised:
    """memorised(**train) plans a training on 12 points of 30 numbers that overfits after a few steps."""
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.normal(size=(16, 1)) * random.normal(size=30) + random.normal(size=(16, 30)))

    def make(**options: Any) -> tuple[Recipe, Dataset]:
        defaults = {
            "steps": STEPS, "batch_size": 16, "warm_up": 0, "learning_rate": 4e-2, "held_out": 0.3, "log_every": 10,
            "checkpoint_every": 5, "preview_every": 0.0,
        }  # fmt: skip
        network = {"width": 64, "depth": 1}
        return plan(
            f"array:{tmp_path / 'x.npy'}", network="mlp", options={"network": network, "train": defaults | options}
        )

    return make


def call(*arguments: object) -> None:
    """Run `sdekit ARGUMENTS`, which must succeed."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert not end.value.code


def held_out_losses(run: Path) -> dict[int, float]:
    """Return the held-out losses of a run by step."""
    return {row["step"]: row["held_out_loss"] for row in read_metrics(run) if "held_out_loss" in row}


def test_choice_among_losses() -> None:
    """Newer weights are used if their loss is at most 1% above the smallest one, and never if it is not a number."""
    best = BestWeights()
    best.update(1, float("nan"), [torch.zeros(1)])
    assert best.step is None
    for step, loss, chosen in ((2, 1.0, 2), (3, 1.009, 3), (4, 1.02, 3), (5, 0.9, 5), (6, 0.95, 5), (7, 0.905, 7)):
        best.update(step, loss, [torch.full((1,), float(step))])
        assert best.step == chosen and best.tensors[0].item() == chosen
    assert best.smallest == 0.9


def test_run_that_overfits(tmp_path: Path, memorised: Memorised) -> None:
    """The model has the weights, and the held-out loss, of an earlier step, and the diagnosis knows it."""
    recipe, data = memorised()
    trainer = train(recipe, data, tmp_path / "run")
    losses, run = held_out_losses(tmp_path / "run"), load_run(tmp_path / "run")
    assert run.step == trainer.weights_step < STEPS and losses[run.step] <= 1.01 * min(losses.values())
    assert losses[STEPS] > 1.1 * losses[run.step]
    objective = Denoising(recipe)
    measured = objective.evaluate(run.model, data, trainer.held_out)["held_out_loss"]
    assert measured == pytest.approx(losses[run.step], rel=1e-6)
    assert diagnose(trainer.metrics.rows).verdict == "overfitting"
    assert diagnose(trainer.metrics.rows, run.step).verdict == "trained"


def test_last_weights(tmp_path: Path, memorised: Memorised) -> None:
    """With weights=last, the training is the same and the model has the weights of the last step."""
    last = train(*memorised(weights="last"), tmp_path / "last")
    best = train(*memorised(), tmp_path / "best")
    assert load_run(tmp_path / "last").step == last.weights_step == STEPS
    assert held_out_losses(tmp_path / "last") == held_out_losses(tmp_path / "best")
    assert all(torch.equal(a, b) for a, b in zip(last.ema.average, best.ema.average, strict=True))
    assert not any(name.startswith("best.") for name in load_tensors(tmp_path / "last" / CHECKPOINT)[0])


def test_nothing_held_out(tmp_path: Path, memorised: Memorised) -> None:
    """Without held-out data, the last weights are used."""
    train(*memorised(held_out=0.0, steps=20), tmp_path / "run")
    assert load_run(tmp_path / "run").step == 20


@pytest.mark.parametrize("stop", [4, 20, 47])
def test_resumed_run(tmp_path: Path, memorised: Memorised, go: Any, same_run: Any, stop: int) -> None:
    """A run that is stopped, also between two evaluations, and resumed equals a run that is not."""
    recipe, data = memorised()
    train(recipe, data, tmp_path / "whole")
    go(Trainer(recipe, data, tmp_path / "run"), stop)
    losses, step = held_out_losses(tmp_path / "run"), load_run(tmp_path / "run").step
    assert losses[step] <= 1.01 * min(losses.values())
    go(Trainer(recipe, data, tmp_path / "run", resume=True))
    same_run(tmp_path / "run", tmp_path / "whole")


def test_model_that_was_not_saved(tmp_path: Path, memorised: Memorised) -> None:
    """If the model is missing, resuming writes the best weights from the checkpoint."""
    recipe, data = memorised()
    train(recipe, data, tmp_path / "run")
    before, fields = load_tensors(tmp_path / "run" / MODEL)
    (tmp_path / "run" / MODEL).unlink()
    Trainer(recipe, data, tmp_path / "run", resume=True)
    after, again = load_tensors(tmp_path / "run" / MODEL)
    assert again["step"] == fields["step"] < STEPS
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_run_of_an_earlier_version(tmp_path: Path, memorised: Memorised) -> None:
    """A run whose recipe has no such option is resumed with the last weights."""
    train(*memorised(steps=50, weights="last"), tmp_path / "run")
    fields = load_json(tmp_path / "run" / CONFIG)
    del fields["train"]["weights"]
    save_json(tmp_path / "run" / CONFIG, fields)
    call("train", "--out", tmp_path / "run", "--resume", "--steps", STEPS)
    assert load_run(tmp_path / "run").step == STEPS


def test_report_of_train(tmp_path: Path, memorised: Memorised, capsys: pytest.CaptureFixture[str]) -> None:
    """The end of the training names the step of the weights, and `sample` does not warn about them."""
    memorised()  # writes the data
    options = {"batch_size": 16, "warm_up": 0, "learning_rate": 4e-2, "held_out": 0.3, "checkpoint_every": 5}
    flags = [f"--option=train.{name}={value}" for name, value in options.items()]
    flags += ["--option=network.width=64", "--option=network.depth=1", "--option=train.preview_every=0"]
    run = tmp_path / "run"
    command = ("train", "--data", f"array:{tmp_path / 'x.npy'}", "--network", "mlp", "--steps", STEPS, *flags)
    call(*command, "--out", run)
    step, text = load_run(run).step, " ".join(capsys.readouterr().err.split())
    assert "the run overfits: its held-out loss rose from" in text
    assert f"the weights of step {step} are used (--option train.weights=last uses the last ones)" in text
    call(*command, "--out", run, "--overwrite", "--json")
    summary = json.loads(capsys.readouterr().out)
    assert summary["verdict"] == "overfitting" and summary["weights_step"] == step < summary["step"]
    call("sample", run, "-n", 2, "--out", tmp_path / "samples")
    assert "overfits" not in capsys.readouterr().err
