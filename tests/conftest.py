"""Fixtures of all tests: one thread, fixed seeds, reproducible hypothesis examples, and tiny training runs."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch is imported, and for every subprocess.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")  # otherwise a test program is compiled for each instruction set

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import Tensor

from sdekit.data import Dataset
from sdekit.runs import CHECKPOINT, METRICS, MODEL, Recipe, load_tensors
from sdekit.training import Trainer, plan

torch.set_num_threads(1)
settings.register_profile("sdekit", deadline=None, derandomize=True)
settings.load_profile("sdekit")


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Seed the global generators before every test, so that its result does not depend on other tests."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def moons() -> Callable[..., tuple[Recipe, Dataset]]:
    """moons(dropout=0.0, condition="none", **train) plans a tiny network on 400 points."""

    def make(dropout: float = 0.0, condition: str = "none", **train: Any) -> tuple[Recipe, Dataset]:
        network = {"width": 8, "depth": 1, "dropout": dropout}
        defaults = {"steps": 30, "batch_size": 16, "warm_up": 5, "log_every": 5, "preview_every": 0.0}
        given = {"data": {"n": 400}, "network": network, "train": defaults | train}
        return plan("moons", network="mlp", condition=condition, options=given)

    return make


@pytest.fixture
def go() -> Callable[..., Trainer]:
    """go(trainer, until) trains and stops cleanly at step `until`."""

    def run(trainer: Trainer, until: int | None = None) -> Trainer:
        for now in trainer.run():
            if now.step == until:
                trainer.stop()
        return trainer

    return run


@pytest.fixture
def same_run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], None]:
    """same_run(one, other) asserts that two runs have equal tensors and metrics, bit by bit, except durations.

    No previews are drawn, because they take most of the time of a tiny run.
    """
    monkeypatch.setattr("sdekit.training.objectives.denoising.Denoising.preview", lambda self, model: None)

    def rows(path: Path) -> list[dict[str, Any]]:
        read = [json.loads(line) for line in (path / METRICS).read_text().splitlines()]
        return [{k: v for k, v in row.items() if k != "seconds"} for row in read]

    def compare(one: Path, other: Path) -> None:
        for name in (MODEL, CHECKPOINT):
            (a, fields_a), (b, fields_b) = load_tensors(one / name), load_tensors(other / name)
            assert a.keys() == b.keys() and len(a) > 6
            assert [k for k in a if not equal_bits(a[k], b[k])] == []
            assert fields_a["step"] == fields_b["step"] and fields_a.get("updates") == fields_b.get("updates")
        assert [row for row in rows(one) if "loss" in row] == [row for row in rows(other) if "loss" in row]
        assert rows(one)[-1] == rows(other)[-1]

    return compare


def equal_bits(a: Tensor, b: Tensor) -> bool:
    """Return whether dtype, shape and every bit are equal."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(torch.uint8), b.view(torch.uint8))
