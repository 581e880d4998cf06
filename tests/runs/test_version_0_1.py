"""A run folder of version 0.1 opens, and its samples are what version 0.1 drew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sdekit import load_run, open_model, sample
from sdekit.runs import read_metrics, read_recipe

DATA = Path(__file__).parent / "data"
RUN = DATA / "version-0.1"
"""`sdekit train --data moons --condition label --drop 0.1 --steps 30` by sdekit 0.1.0, with an MLP of width 8."""


def test_it_opens() -> None:
    """Recipe, weights and metrics are read, and the checksums of version 0.1 hold."""
    run = load_run(RUN)
    assert run.step == 30 and run.recipe == read_recipe(RUN) and run.facts == {"format": "run"}
    assert (run.recipe.network.name, run.recipe.sde.name, run.condition) == ("mlp", "vp", "label")
    assert [row["step"] for row in read_metrics(RUN)] == [30]


def test_it_draws_the_same_samples() -> None:
    """Heun's method with 5 steps, from seeds 0 to 5, with and without a label."""
    run = open_model(RUN)
    y = torch.tensor([0, 1, 0, 1, -1, -1])
    samples = sample(run.model.sde, run.model, "heun", shape=run.shape, seeds=range(6), steps=5, y=y)
    expected = np.load(DATA / "version-0.1-samples.npy")
    assert np.abs(run.to_data(samples.x) - expected).max() < 1e-5
