"""What goes wrong on the way, a kill between two files, a bad gradient, a failing preview, costs nothing else."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.runs import CHECKPOINT, MODEL, PREVIEWS, load_run, load_tensors, read_metrics, snapshot_name
from sdekit.training import Denoising, PreviewWarning, Trainer, train
from sdekit.training.state import State

Moons = Callable[..., Any]
Go = Callable[..., Trainer]
Same = Callable[[Path, Path], None]


def rows(run: Path) -> list[dict[str, Any]]:
    """The metrics without their seconds."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]


@pytest.mark.parametrize("step", [10, 20])
@pytest.mark.parametrize("left", ["stale", "none", "damaged"])
def test_killed_between_checkpoint_and_model(
    tmp_path: Path, moons: Moons, same_run: Same, step: int, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resuming writes the model of the checkpoint, also where no step is left to do."""
    recipe, data = moons(steps=20, checkpoint_every=10)
    train(recipe, data, tmp_path / "whole")
    save = State.save_average

    def killed(self: State, path: Path, fields: dict[str, Any]) -> None:
        if fields["step"] == step:
            raise KeyboardInterrupt
        save(self, path, fields)

    with monkeypatch.context() as patch:
        patch.setattr(State, "save_average", killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, data, tmp_path / "run")
    model = tmp_path / "run" / MODEL
    if left == "none":
        model.unlink(missing_ok=True)
    elif left == "damaged":
        model.write_bytes(b"cut")
    resumed = Trainer(recipe, data, tmp_path / "run", resume=True)
    assert load_run(tmp_path / "run").step == resumed.step == step
    for _ in resumed.run():
        pass
    (run, fields), (whole, _) = (load_tensors(tmp_path / name / MODEL) for name in ("run", "whole"))
    assert fields["step"] == 20 and all(torch.equal(run[name], whole[name]) for name in whole)


def test_kept_before_the_checkpoint(tmp_path: Path, moons: Moons, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are kept at a step of a checkpoint are there, whenever that can be resumed from."""
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", lambda trainer: None)
        for now in Trainer(*moons(checkpoint_every=4, keep_every=4), tmp_path / "run").run():
            if now.step == 5:
                break
    assert (tmp_path / "run" / snapshot_name(4)).exists()


@pytest.mark.parametrize("saved", [True, False])
def test_gradient_that_is_not_finite(tmp_path: Path, moons: Moons, saved: bool) -> None:
    """Under a finite loss too: nothing of the step is taken in, and the last checkpoint goes on."""
    recipe, data = moons(steps=12, checkpoint_every=5 if saved else 100, dropout=0.1)
    train(recipe, data, tmp_path / "whole")
    trainer = Trainer(recipe, data, tmp_path / "run")

    def poison(module: object, inputs: object, output: Tensor) -> Tensor:
        if trainer.step == 7 and torch.is_grad_enabled():
            return output + torch.sqrt(0 * trainer.weights["last.weight"].sum().square())  # 0, of slope NaN
        return output

    trainer.model.network.register_forward_hook(poison)
    before: dict[str, Tensor] = {}
    kept = "last good checkpoint, of step 5, is kept" if saved else "no checkpoint had been saved yet"
    with pytest.raises(SdekitError, match=f"the gradient is not finite at step 8, where the loss is .*{kept}") as e:
        for now in trainer.run():
            if now.step == 7:
                before = {name: weight.detach().clone() for name, weight in trainer.weights.items()}
                average = [value.clone() for value in trainer.ema.average]
    assert not isinstance(e.value, InputError)
    assert all(torch.equal(before[name], weight) for name, weight in trainer.weights.items())
    assert all(torch.equal(a, b) for a, b in zip(average, trainer.ema.average, strict=True))
    for state in trainer.optimizer.state.values():
        assert state["step"] == 7 and state["exp_avg"].isfinite().all() and state["exp_avg_sq"].isfinite().all()
    if not saved:
        assert not (tmp_path / "run" / CHECKPOINT).exists()
        return
    train(recipe, data, tmp_path / "run", resume=True)
    (run, _), (whole, _) = (load_tensors(tmp_path / name / CHECKPOINT) for name in ("run", "whole"))
    assert all(torch.equal(run[name], whole[name]) for name in whole)


@pytest.mark.parametrize("error", [InputError("out of reach"), SdekitError("out of reach")])
def test_preview_that_fails(tmp_path: Path, moons: Moons, error: SdekitError, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, and the training goes on to its end as if none had been asked for."""
    train(*moons(steps=6, dropout=0.2), tmp_path / "plain")

    def fail(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr("sdekit.training.monitoring.previews.sample", fail)
    monkeypatch.setattr("sdekit.training.monitoring.preview_schedule.MOST_SHARE", math.inf)
    with pytest.warns(PreviewWarning, match="no preview at step 1: out of reach") as told:
        trainer = train(*moons(steps=6, dropout=0.2, preview_every=1e-9), tmp_path / "run")
    assert len(told) == 1 and trainer.finished and trainer.model.training
    assert not (tmp_path / "run" / PREVIEWS).exists()
    (run, _), (plain, _) = (load_tensors(tmp_path / name / CHECKPOINT) for name in ("run", "plain"))
    assert all(torch.equal(run[name], plain[name]) for name in plain)


def test_preview_with_a_defect(tmp_path: Path, moons: Moons, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no error of ours is not passed over."""
    monkeypatch.setattr(Denoising, "preview", lambda self, model: math.sqrt(-1))
    with warnings.catch_warnings(), pytest.raises(ValueError, match="math domain|nonnegative"):
        train(*moons(steps=2), tmp_path / "run")


@pytest.mark.parametrize("stops", [(7,), (3, 13), (10,)], ids=str)
def test_resumed_metrics_are_the_same(
    tmp_path: Path, moons: Moons, go: Go, same_run: Same, stops: tuple[int, ...]
) -> None:
    """No row is left of where a run was stopped; a run that is over keeps its last row."""
    recipe, data = moons(steps=22, checkpoint_every=10, keep_every=4)
    train(recipe, data, tmp_path / "whole")
    for i, stop in enumerate(stops):
        go(Trainer(recipe, data, tmp_path / "parts", resume=i > 0), stop)
        assert rows(tmp_path / "parts")[-1]["step"] == stop
    train(recipe, data, tmp_path / "parts", resume=True)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    again = train(recipe, data, tmp_path / "parts", resume=True)
    assert again.finished and rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_callers_generator_goes_on(tmp_path: Path, moons: Moons) -> None:
    """Training with dropout leaves the global generator as it was."""
    recipe, data = moons(steps=3, dropout=0.3)
    before = torch.get_rng_state()
    train(recipe, data, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


def test_inputs_made_ahead(tmp_path: Path, moons: Moons, go: Go, same_run: Same) -> None:
    """As where a GPU trains: the same run, bit for bit; and a bad item stops the step that needs it, not another."""
    recipe, data = moons(steps=12, dropout=0.2, condition="label", drop=0.3)
    train(recipe, data, tmp_path / "whole")

    def ahead(**kwargs: Any) -> Trainer:
        trainer = Trainer(recipe, data, tmp_path / "parts", **kwargs)
        trainer.prepares = True
        return trainer

    go(ahead(), 5)
    go(ahead(resume=True))
    same_run(tmp_path / "whole", tmp_path / "parts")

    trainer = ahead(overwrite=True)
    batches = trainer.batches

    def damaged(step: int) -> Any:
        if step == 4:
            raise SdekitError("item 4 is damaged")
        return batches(step)

    damaged.skipped = 0  # type: ignore[attr-defined]
    trainer.batches = damaged  # type: ignore[assignment]
    with pytest.raises(SdekitError, match="item 4 is damaged. Training stopped after step 4"):
        go(trainer)
    assert trainer.step == 4
