"""Previews take at most 5% of the time of a training, and there is always one at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdekit.runs import PREVIEWS
from sdekit.training import Denoising, train
from sdekit.training.monitoring.preview_schedule import FEWEST_EVALUATIONS, PREVIEW_EVALUATIONS, PreviewSchedule


def simulate(
    step: float, per_evaluation: float, every: float, steps: int, *, items: int = 16
) -> tuple[float, float, int]:
    """Simulate a training; return its duration, that of all previews, and their number."""
    schedule, now, spent, count = PreviewSchedule(every, items, batch_size=32), 0.0, 0.0, 0
    for done in range(1, steps + 1):
        now += step
        if schedule.is_due(now, done):
            duration = PREVIEW_EVALUATIONS * per_evaluation
            now, spent, count = now + duration, spent + duration, count + 1
            schedule.record(now, duration, PREVIEW_EVALUATIONS)
    last = schedule.last_evaluations(now, steps) * per_evaluation
    return now + last, spent + last, count + 1


@pytest.mark.parametrize("step", [0.001, 0.1, 2.0])
@pytest.mark.parametrize("steps", [400, 3000])
@pytest.mark.parametrize("every", [1e-9, 5.0, 60.0])
def test_share_of_the_time(step: float, steps: int, every: float) -> None:
    """At most 5%, if the cost of a preview is as estimated, ten times lower, or three times higher."""
    estimated = step * 16 / (3 * 32)
    for factor in (0.1, 1.0, 3.0):
        total, previews, _ = simulate(step, factor * estimated, every, steps)
        assert previews <= 0.05 * total or previews <= FEWEST_EVALUATIONS * factor * estimated


def test_interval_that_fits() -> None:
    """Previews that take little time are drawn at the requested interval."""
    total, _, count = simulate(step=0.1, per_evaluation=0.002, every=10.0, steps=3000)
    assert total // 10.1 - 4 <= count <= total // 10.0 + 1


def test_last_preview_only() -> None:
    """An interval of 0 means one preview at the end, with fewer evaluations in a short training."""
    schedule = PreviewSchedule(0.0, 16, 32)
    assert not schedule.is_due(1e6, 10)
    assert schedule.last_evaluations(1000.0, 10_000) == PREVIEW_EVALUATIONS
    assert schedule.last_evaluations(1.0, 1) == FEWEST_EVALUATIONS


def test_slow_previews(tmp_path: Path, moons: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow previews in a real training: few are drawn, and the last one."""
    durations = list[float]()

    def slow(self: Denoising, model: object) -> bytes:
        start = time.monotonic()
        time.sleep(0.02)
        durations.append(time.monotonic() - start)
        return b"picture"

    monkeypatch.setattr(Denoising, "preview", slow)
    options = {"steps": None, "time_limit": 1.2, "preview_every": 1e-9, "log_every": 1000}
    trainer = train(*moons(**options), tmp_path / "run")
    assert sum(durations[:-1]) <= 0.05 * trainer.seconds
    assert (tmp_path / "run" / PREVIEWS / f"step-{trainer.step:07d}.png").read_bytes() == b"picture"
