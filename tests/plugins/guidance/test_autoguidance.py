"""Autoguidance: its formula, its evaluations, and weaker models from run folders."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.models import open_model
from sdekit.processes import EDM, VP, as_time
from sdekit.runs import load_run
from sdekit.sampling import sample
from sdekit.training import plan, train
from sdekit_plugins.guidance.autoguidance import autoguidance

GOOD = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4]]), 0.3)
WEAK = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4]]), 0.6)


def test_away_from_the_weaker_model() -> None:
    """The result is D_weak + scale (D - D_weak) with two evaluations; scales 0 and 1 need one and are exact."""
    sde, t = VP(), as_time(0.4)
    good, weak, x = GOOD.denoiser(sde), WEAK.denoiser(sde), torch.randn(4, 2, dtype=torch.float64)
    guided = autoguidance(sde, good, run=weak, scale=2.5)(x, t)
    torch.testing.assert_close(guided, weak(x, t) + 2.5 * (good(x, t) - weak(x, t)), rtol=0, atol=1e-12)
    assert torch.equal(autoguidance(sde, good, run=weak, scale=1.0)(x, t), good(x, t))
    assert torch.equal(autoguidance(sde, good, run=weak, scale=0.0)(x, t), weak(x, t))
    calls = [
        sample(sde, good, "ddim", shape=(2,), n=4, steps=5, guidance=[partial(autoguidance, run=weak, scale=s)]).nfe
        for s in (2.5, 1.0, 0.0)
    ]
    assert calls == [10, 5, 5]


def test_a_run_and_its_earlier_weights(tmp_path: Path) -> None:
    """run=FOLDER uses the last weights of a run and step=N those of step N; conditions are passed on."""
    given = {
        "data": {"n": 200},
        "network": {"width": 8, "depth": 1},
        "train": {"steps": 20, "batch_size": 16, "warm_up": 0, "keep_every": 10, "preview_every": 0.0, "drop": 0.2},
    }
    recipe, data = plan("moons", network="mlp", condition="label", options=given)
    train(recipe, data, tmp_path / "run")
    last, early = load_run(tmp_path / "run"), load_run(tmp_path / "run", step=10)
    assert (last.step, early.step) == (20, 10) and load_run(tmp_path / "run", step=20).step == 20
    sde, x, t, y = recipe.sde.build("sde"), torch.randn(3, 2), as_time(0.3), torch.tensor([0, 1, 0])
    assert not torch.equal(last.model(x, t, y), early.model(x, t, y))
    guided = autoguidance(sde, last.model, run=str(tmp_path / "run"), step=10, scale=3.0)(x, t, y)
    weak = early.model(x, t, y)
    torch.testing.assert_close(guided, weak + 3.0 * (last.model(x, t, y) - weak))
    with pytest.raises(InputError, match="has no weights of step 15: it has those of 10, 20"):
        autoguidance(sde, last.model, run=str(tmp_path / "run"), step=15)
    with pytest.raises(InputError, match="was trained with the process VP, not with the process of the model"):
        autoguidance(EDM(), last.model, run=str(tmp_path / "run"))


def test_a_run_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is read once for all batches, and again after its files have changed."""
    module, loads = sys.modules[autoguidance.__module__], []
    monkeypatch.setattr(module, "open_model", lambda path, step=None: loads.append(step) or open_model(path, step=step))
    given = {"data": {"n": 100}, "network": {"width": 8, "depth": 1}, "train": {"steps": 2, "preview_every": 0.0}}
    for _ in range(2):
        recipe, data = plan("moons", network="mlp", options=given)
        train(recipe, data, tmp_path / "run", overwrite=True)
        model = load_run(tmp_path / "run").model
        guidance = [partial(autoguidance, run=str(tmp_path / "run"))]
        for _ in range(2):
            sample(model.sde, model, "ddim", shape=(2,), n=4, steps=2, batch_size=1, guidance=guidance)
    assert loads == [None, None]


def test_bad_options(tmp_path: Path) -> None:
    base = GOOD.denoiser(VP())
    with pytest.raises(InputError, match="autoguidance: say which weaker model"):
        autoguidance(VP(), base)
    with pytest.raises(InputError, match="autoguidance: scale must be a finite number"):
        autoguidance(VP(), base, run=base, scale=float("inf"))
    with pytest.raises(InputError, match="no such run folder"):
        autoguidance(VP(), base, run=str(tmp_path / "none"))
