"""The loop: bit-for-bit resumption, its schedule, and what it keeps where something fails."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.runs import CHECKPOINT, METRICS, MODEL, PREVIEWS, load_checkpoint, load_run, load_tensors, read_metrics
from sdekit.sampling import sample
from sdekit.training import Trainer, draw, plan, train

Moons = Callable[..., Any]
Go = Callable[..., Trainer]
Same = Callable[[Path, Path], None]


def held_out_loss(trainer: Trainer) -> float | None:
    """The held-out loss of the averaged weights."""
    loss: float | None = trainer.evaluate()["held_out_loss"]
    return loss


@pytest.mark.parametrize(("dropout", "condition"), [(0.0, "none"), (0.3, "label")])
@pytest.mark.parametrize("stops", [(13,), (4, 19), (15,), (29,)], ids=str)
def test_resumed_run_is_the_same_run(
    tmp_path: Path, moons: Moons, go: Go, same_run: Same, dropout: float, condition: str, stops: tuple[int, ...]
) -> None:
    """Stopped and resumed, once or twice, between logs or at one: every bit of the result is as if never stopped."""
    recipe, data = moons(dropout, condition)
    train(recipe, data, tmp_path / "whole")
    for i, stop in enumerate(stops):
        part = go(Trainer(recipe, data, tmp_path / "parts", resume=i > 0), stop)
        assert part.interrupted and part.step == stop == load_run(tmp_path / "parts").step
    last = train(recipe, data, tmp_path / "parts", resume=True)
    assert last.finished and last.step == 30
    same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("network", ["unet", "mixer"])
def test_resumed_network_is_the_same_run(tmp_path: Path, go: Go, same_run: Same, network: str) -> None:
    """The same for networks of images, labels and dropout included: channels-last changes no bit."""
    given = {
        "network": {"width": 8, "dropout": 0.2},
        "train": {"steps": 6, "batch_size": 4, "log_every": 2, "held_out": 0.01, "preview_every": 0.0},
    }
    recipe, data = plan("digits", network=network, condition="label", options=given)
    train(recipe, data, tmp_path / "whole")
    go(Trainer(recipe, data, tmp_path / "parts"), 3)
    train(recipe, data, tmp_path / "parts", resume=True)
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_killed_run_resumes_from_its_last_checkpoint(tmp_path: Path, moons: Moons, same_run: Same) -> None:
    """A run that died without saving loads as of its last checkpoint, and resumes to the same end."""
    recipe, data = moons(dropout=0.1, checkpoint_every=10)
    train(recipe, data, tmp_path / "whole")
    for now in Trainer(recipe, data, tmp_path / "parts").run():
        if now.step == 18:
            break
    assert load_run(tmp_path / "parts").step == 10
    assert [row["step"] for row in read_metrics(tmp_path / "parts")] == [5, 10, 10, 15]
    train(recipe, data, tmp_path / "parts", resume=True)
    same_run(tmp_path / "whole", tmp_path / "parts")
    assert [row["step"] for row in read_metrics(tmp_path / "parts")] == [5, 10, 10, 15, 20, 20, 25, 30, 30]


def test_looking_changes_nothing(tmp_path: Path, moons: Moons, monkeypatch: pytest.MonkeyPatch) -> None:
    """How often it logs, saves, draws a preview and measures the held-out loss changes no bit of the weights."""
    monkeypatch.setattr("sdekit.training.monitoring.preview_schedule.MOST_SHARE", math.inf)
    for name, often in {"often": {"log_every": 1, "checkpoint_every": 3, "preview_every": 1e-9}, "rarely": {}}.items():
        train(*moons(dropout=0.2, steps=8, **often), tmp_path / name)
    often, rarely = (load_tensors(tmp_path / name / MODEL)[0] for name in ("often", "rarely"))
    assert all(torch.equal(often[k], rarely[k]) for k in rarely)
    assert len(list((tmp_path / "often" / PREVIEWS).iterdir())) == 8
    assert [p.name for p in (tmp_path / "rarely" / PREVIEWS).iterdir()] == ["step-0000008.png"]


def test_seed_decides(tmp_path: Path, moons: Moons) -> None:
    """Equal seeds give equal weights whatever the global generator; another seed gives others."""
    found = []
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(i)
        train(*moons(dropout=0.2, steps=3, seed=seed), tmp_path / str(i))
        found.append(load_tensors(tmp_path / str(i) / MODEL)[0]["first.weight"])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
def test_learning_rate(tmp_path: Path, moons: Moons, decay: str) -> None:
    """A linear rise over warm_up steps times the decay, which ends at 0 (but for "constant")."""
    trainer = Trainer(*moons(steps=20, warm_up=5, decay=decay, learning_rate=0.1), tmp_path / "run")
    (scale,) = {group["scale"] for group in trainer.optimizer.param_groups}  # of an MLP
    rates = [trainer.optimizer.param_groups[0]["lr"] / scale for _ in trainer.run()]
    fall = {"cosine": lambda p: (1 + math.cos(math.pi * p)) / 2, "linear": lambda p: 1 - p, "constant": lambda p: 1.0}
    expected = [0.1 * min(1, (k + 1) / 5) * fall[decay](k / 20) for k in range(20)]
    assert rates == pytest.approx(expected)
    last = [row for row in read_metrics(tmp_path / "run") if "learning_rate" in row][-1]
    assert last["learning_rate"] == pytest.approx(0.1 if decay == "constant" else 0.0, abs=1e-12)


def test_first_step_is_adam(tmp_path: Path, moons: Moons) -> None:
    """One step without warm-up moves every weight that has a gradient by the learning rate, against its sign."""
    trainer = Trainer(*moons(steps=1, warm_up=0, decay="constant", learning_rate=1e-3, held_out=0.0), tmp_path / "run")
    before = trainer.weights["last.weight"].detach().clone()
    for _ in trainer.run():
        pass
    moved = (trainer.weights["last.weight"].detach() - before).abs()
    (scale,) = {group["scale"] for group in trainer.optimizer.param_groups}
    assert torch.allclose(moved, torch.full_like(moved, 1e-3 * scale), rtol=1e-3)


def test_gradient_is_clipped(tmp_path: Path, moons: Moons) -> None:
    """The norm of the gradient that the optimizer sees is at most `clip`."""
    trainer = Trainer(*moons(steps=1, clip=1e-3), tmp_path / "run")
    for _ in trainer.run():
        pass
    norm = torch.stack([p.grad.norm() for p in trainer.weights.values() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_learns_moons(tmp_path: Path) -> None:
    """300 steps lower the loss, held out too, by a tenth and more, and draw points nearer to the moons than noise."""
    train = {"steps": 300, "batch_size": 128, "warm_up": 10, "seed": 1, "learning_rate": 8e-3}
    given = {"network": {"width": 64, "depth": 2}, "train": train}
    recipe, data = plan("moons", network="mlp", options=given)
    trainer = Trainer(recipe, data, tmp_path / "run")
    start = held_out_loss(trainer)
    losses = [now.loss for now in trainer.run()]
    end = held_out_loss(trainer)
    assert start is not None and end is not None
    assert end < 0.9 * start and sum(losses[-50:]) / 50 < 0.9 * sum(losses[:5]) / 5
    points = data.batch(range(1000)).x
    drawn = sample(trainer.model.sde, load_run(tmp_path / "run").model, "heun", shape=(2,), n=200, steps=18).x
    noise = torch.randn(200, 2)
    far = [torch.cdist(z, points).min(1).values.mean() for z in (drawn, noise)]
    assert far[0] < 0.6 * far[1]


def test_held_out_loss(tmp_path: Path, moons: Moons) -> None:
    """It is the same twice, leaves weights and mode alone, and is of the averaged weights on held-out items only."""
    recipe, data = moons(steps=5, dropout=0.5)
    trainer = train(recipe, data, tmp_path / "run")
    before = {k: v.detach().clone() for k, v in trainer.weights.items()}
    first = held_out_loss(trainer)
    assert first is not None and first == held_out_loss(trainer) and trainer.model.training
    assert all(torch.equal(before[k], v) for k, v in trainer.weights.items())
    assert read_metrics(tmp_path / "run")[-1]["held_out_loss"] == first
    assert set(trainer.held_out).isdisjoint(trainer.indices)
    assert len(trainer.held_out) + len(trainer.indices) == len(data)
    data.array[trainer.indices] = 1e9
    assert held_out_loss(trainer) == first
    trainer.ema.average[0].add_(1.0)
    assert held_out_loss(trainer) != first


def test_nothing_held_out(tmp_path: Path, moons: Moons) -> None:
    """With held_out = 0 everything is trained on and the loss is None."""
    trainer = train(*moons(steps=2, held_out=0.0), tmp_path / "run")
    assert len(trainer.indices) == 400 and held_out_loss(trainer) is None
    assert read_metrics(tmp_path / "run")[-1]["held_out_loss"] is None


@pytest.mark.parametrize("saved", [True, False])
def test_loss_that_is_not_finite(tmp_path: Path, moons: Moons, saved: bool) -> None:
    """It stops with the step and the noise level of the bad sample; the last checkpoint is kept as it was."""
    recipe, data = moons(checkpoint_every=5 if saved else 100)
    trainer = Trainer(recipe, data, tmp_path / "run")

    def poison(module: object, inputs: object, output: Tensor) -> Tensor:
        bad = torch.zeros_like(output)
        if trainer.step == 7 and torch.is_grad_enabled():
            bad[3] = math.nan
        return output + bad

    trainer.model.network.register_forward_hook(poison)
    t = draw(trainer.model.sde, recipe.train, recipe.shape, 7).t[3]
    rho = float(trainer.model.sde.rho(t))
    kept = "last good checkpoint, of step 5, is kept" if saved else "no checkpoint had been saved yet"
    with pytest.raises(
        SdekitError, match=f"the loss is nan at step 8, .*{rho:.4g}: training stopped and .*{kept}"
    ) as e:
        for _ in trainer.run():
            pass
    assert not isinstance(e.value, InputError)
    assert all(weight.isfinite().all() for weight in trainer.weights.values())
    if saved:
        assert load_run(tmp_path / "run").step == load_checkpoint(tmp_path / "run")[1]["step"] == 5
        assert train(recipe, data, tmp_path / "run", resume=True).step == 30
    else:
        assert not (tmp_path / "run" / CHECKPOINT).exists()


@pytest.mark.parametrize("file", [CHECKPOINT, MODEL])
def test_full_disk(tmp_path: Path, moons: Moons, same_run: Same, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space while saving: an error, and the run as last saved still loads and resumes to the same end."""
    recipe, data = moons(checkpoint_every=10)
    train(recipe, data, tmp_path / "whole")
    replace_file, calls = os.replace, []

    def full(source: Any, target: Any) -> None:
        if Path(target).name == Path(file).name:
            calls.append(target)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(SdekitError, match=rf"could not save .*{Path(file).name}: No space left on device"):
            train(recipe, data, tmp_path / "run")
    assert load_run(tmp_path / "run").step == 10
    assert list((tmp_path / "run").rglob("*.partial")) == []
    train(recipe, data, tmp_path / "run", resume=True)
    same_run(tmp_path / "whole", tmp_path / "run")


def test_metrics_that_cannot_be_written(tmp_path: Path, moons: Moons) -> None:
    """Where a row cannot be written the message names the file and what is kept."""
    trainer = Trainer(*moons(), tmp_path / "run")
    (tmp_path / "run" / METRICS).mkdir()
    with pytest.raises(SdekitError, match=f"could not write .*{METRICS}: Is a directory; no checkpoint had been saved"):
        for _ in trainer.run():
            pass


def test_time_limit_alone_is_the_horizon(tmp_path: Path, moons: Moons) -> None:
    """It stops in time, finished, with the learning rate decayed by the time."""
    started = time.monotonic()
    trainer = Trainer(*moons(steps=None, time_limit=0.4, preview_every=0.0), tmp_path / "run")
    rates = [trainer.optimizer.param_groups[0]["lr"] for _ in trainer.run()]
    assert trainer.finished and not trainer.interrupted
    assert 0.4 <= trainer.seconds < 2 and time.monotonic() - started < 10
    assert rates[-1] < 0.5 * max(rates) and load_run(tmp_path / "run").step == trainer.step == len(rates)
    again = train(trainer.recipe, trainer.data, tmp_path / "run", resume=True)
    assert again.step == trainer.step


def test_time_for_checkpoints_counts(tmp_path: Path, moons: Moons, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose time is over while it saves is finished."""
    monkeypatch.setattr(Trainer, "evaluate", lambda _: time.sleep(0.3) or {})
    options = {"steps": None, "time_limit": 0.2, "checkpoint_every": 1, "preview_every": 0.0}
    trainer = train(*moons(**options), tmp_path / "run")
    assert trainer.finished and trainer.step == 1


def test_time_limit_beside_steps_only_stops(tmp_path: Path, moons: Moons, same_run: Same) -> None:
    """With steps the limit leaves an unfinished run, which resumes with it for as long, and without it to the end."""
    recipe, data = moons(steps=200, log_every=100)
    train(recipe, data, tmp_path / "whole")
    limited = replace(recipe, train=replace(recipe.train, time_limit=0.05))
    part = train(limited, data, tmp_path / "run")
    more = train(limited, data, tmp_path / "run", resume=True)
    assert not part.finished and 0 < part.step < more.step <= 200
    train(recipe, data, tmp_path / "run", resume=True)
    same_run(tmp_path / "whole", tmp_path / "run")


def test_resume_may_only_lengthen(tmp_path: Path, moons: Moons) -> None:
    """More steps go on and are recorded; fewer than are done, and any other change, are refused and change nothing."""
    train(*moons(steps=4), tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    for change, message in [
        ({"steps": 3}, "trained 4 steps already"),
        ({"steps": 8, "seed": 1}, "differ from .* run: train"),
    ]:
        with pytest.raises(InputError, match=message):
            Trainer(*moons(**change), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    train(*moons(steps=6), tmp_path / "run", resume=True)
    assert load_run(tmp_path / "run").step == load_run(tmp_path / "run").recipe.train.steps == 6


def test_bfloat16_trains(tmp_path: Path, moons: Moons) -> None:
    """bf16 gives other, finite losses near those of fp32; weights stay float32."""
    losses = {}
    for precision in ("fp32", "bf16"):
        trainer = Trainer(*moons(steps=5, precision=precision), tmp_path / precision)
        losses[precision] = [now.loss for now in trainer.run()]
        assert {w.dtype for w in trainer.weights.values()} == {torch.float32}
    assert losses["bf16"] != losses["fp32"] and losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_steps_tell_of_the_run(tmp_path: Path, moons: Moons) -> None:
    """Each step yields its number, loss, seconds that grow, and progress to 1; metrics hold the mean of the losses."""
    found = list(Trainer(*moons(steps=10), tmp_path / "run").run())
    assert [now.step for now in found] == list(range(1, 11))
    assert [now.progress for now in found] == pytest.approx([k / 10 for k in range(1, 11)])
    assert all(a.seconds < b.seconds for a, b in zip(found, found[1:], strict=False))
    logged = [row["loss"] for row in read_metrics(tmp_path / "run") if "loss" in row]
    assert logged == pytest.approx([sum(now.loss for now in found[a : a + 5]) / 5 for a in (0, 5)])
