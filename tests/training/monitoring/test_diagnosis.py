"""The diagnosis of a run: untrained, improving, overfitting or trained, from the rows of its metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdekit.runs import read_metrics
from sdekit.training import diagnose, plan, train


def rows(losses: dict[int, float], baseline: float | None = 0.5) -> list[dict[str, Any]]:
    """Return rows of metrics with these held-out losses, between rows of the training loss."""
    result: list[dict[str, Any]] = []
    for step, loss in losses.items():
        result += [{"step": step, "loss": 0.1}, {"step": step, "held_out_loss": loss, "baseline_loss": baseline}]
    return result


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        ({20: 1.0}, "untrained"),
        ({64: 0.9, 100: 0.6}, "untrained"),
        ({64: 0.9, 1000: math.nan}, "untrained"),
        ({500: 0.49, 1000: 0.35}, "improving"),
        ({64: 0.5155, 100: 0.4791}, "improving"),
        ({1000: 0.50, 2000: 0.49, 3000: 0.485}, "trained"),
        ({1000: 0.36, 2000: 0.34, 3000: 0.31}, "trained"),
        ({1000: 0.54}, "trained"),
        ({1000: 0.500, 2000: 0.495, 3000: 0.505}, "trained"),
        ({1000: 0.40, 2000: 0.38, 3000: 0.45}, "overfitting"),
        ({1000: 0.90, 2000: 0.80, 3000: 0.85}, "overfitting"),
    ],
)
def test_verdicts(losses: dict[int, float], verdict: str) -> None:
    """Each curve has the verdict that a reader of the curve would give."""
    diagnosis = diagnose(rows(losses))
    assert diagnosis.verdict == verdict and bool(diagnosis.explanation) == (verdict != "trained")
    assert diagnosis.step == max(losses) and diagnosis.as_dict()["baseline_loss"] == 0.5


def test_structure_that_is_hard_to_see() -> None:
    """If the baseline is close to the trivial loss, a run must have learned half of the difference, or be within 4%."""
    close = [{"step": 5, "held_out_loss": 1.0, "baseline_loss": 0.92, "trivial_loss": 1.0}]
    assert diagnose(close).verdict == "untrained"
    assert diagnose([close[0] | {"held_out_loss": 0.95}]).verdict == "trained"
    assert diagnose([close[0] | {"baseline_loss": 0.99}]).verdict == "trained"


def test_nothing_held_out() -> None:
    """Without held-out items nothing is known, and nothing is claimed."""
    for found in (diagnose([]), diagnose([{"step": 5, "held_out_loss": None}, {"step": 5, "loss": 0.3}])):
        assert found.verdict == "unknown" and found.explanation == "" and found.held_out_loss is None


def test_weights_of_an_earlier_step() -> None:
    """Rows after the step of the weights are ignored."""
    found = diagnose(rows({1000: 0.40, 2000: 0.38, 3000: 0.45}), step=2000)
    assert found.verdict == "trained" and found.step == 2000


def test_run_of_an_earlier_version() -> None:
    """Without the loss of a baseline, only the curve is judged."""
    assert diagnose(rows({10: 1.0}, baseline=None)).verdict == "trained"
    assert diagnose(rows({10: 0.8, 20: 1.0}, baseline=None)).verdict == "overfitting"


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_short_runs(tmp_path: Path, moons: Callable[..., Any], steps: int) -> None:
    """A run of a few steps has rows with the loss and the held-out loss, and is diagnosed as untrained."""
    train(*moons(steps=steps, log_every=50), tmp_path / "run")
    last = read_metrics(tmp_path / "run")[-1]
    assert {"loss", "held_out_loss", "held_out_loss_by_noise", "baseline_loss"} <= last.keys() and last["step"] == steps
    assert diagnose(read_metrics(tmp_path / "run")).verdict == "untrained"


def test_gaussian_data(tmp_path: Path) -> None:
    """On Gaussian data nothing is better than the baseline, and a trained network has no alarm."""
    import numpy as np

    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3000, 2)) * [1.0, 0.5])
    options = {"network": {"width": 32, "depth": 2}, "train": {"steps": 250, "preview_every": 0.0, "batch_size": 64}}
    recipe, data = plan(f"array:{tmp_path / 'x.npy'}", network="mlp", options=options)
    trainer = train(recipe, data, tmp_path / "run")
    found = diagnose(trainer.metrics.rows)
    assert found.held_out_loss is not None and found.baseline_loss is not None
    assert found.verdict == "trained" and found.held_out_loss == pytest.approx(found.baseline_loss, rel=0.08)
