"""Denoisers that need no training agree with exact ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sdekit.distributions import FullCovarianceMixture
from sdekit.models import PREDICTIONS
from sdekit.training import Denoising, Trainer
from sdekit.training.monitoring.baseline_denoisers import BaselineModel, GaussianDenoiser
from sdekit.training.objectives.denoising import mean_by_noise


def test_gaussian_denoiser(moons: Callable[..., Any]) -> None:
    """With many items it is the exact denoiser of a Gaussian with their covariance."""
    recipe, _ = moons()
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    exact = FullCovarianceMixture(torch.tensor([[0.3, -0.2]], dtype=torch.float64), covariance[None])
    denoiser = GaussianDenoiser(recipe, exact.sample(200_000))
    x0, eps = exact.sample(50, seed=1), torch.randn(50, 2, dtype=torch.float64)
    t = torch.linspace(1e-4, 1, 50, dtype=torch.float64)
    expected = exact.denoiser(denoiser.sde)(denoiser.sde.perturb(x0, t, eps), t)
    assert torch.allclose(denoiser(x0, t, eps), expected, atol=0.02)


def test_more_numbers_than_items(moons: Callable[..., Any]) -> None:
    """Without enough items for a covariance, it is still not much worse than the denoiser of independent numbers."""
    recipe, _ = moons()
    rows, x0, eps = torch.randn(30, 200), torch.randn(100, 200), torch.randn(100, 200)
    denoiser = GaussianDenoiser(recipe, rows)
    for level in (0.1, 1.0, 5.0):
        t = denoiser.sde.time(torch.tensor(level, dtype=torch.float64)).expand(100)
        error = (denoiser(x0, t, eps) - x0).square().mean()
        assert float(error) < 1.35 * level**2 / (1 + level**2)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_loss_is_that_of_a_model(moons: Callable[..., Any], prediction: str) -> None:
    """The loss of an estimate equals that of a network whose denoiser is the estimate."""
    recipe = replace(moons()[0], prediction=prediction)
    model = recipe.build()
    x0, eps, t = torch.randn(8, 2), torch.randn(8, 2), torch.linspace(0.05, 0.95, 8, dtype=torch.float64)
    baseline = BaselineModel(recipe, lambda x0, t, eps, y=None: model(model.sde.perturb(x0, t, eps), t))
    with torch.no_grad():
        assert torch.allclose(baseline.loss(x0, t, eps).float(), model.loss(x0, t, eps), rtol=1e-3, atol=1e-4)


def test_mean_by_noise() -> None:
    """Intervals contain equal numbers of items and are named by their mean noise level."""
    rho, loss = torch.tensor([4.0, 1.0, 2.0, 0.5]), torch.tensor([4.0, 1.0, 3.0, 0.0])
    assert mean_by_noise(rho, loss, bins=2) == {"0.707": 0.5, "2.83": 3.5}
    assert len(mean_by_noise(rho, loss)) == 4


@pytest.mark.parametrize("condition", ["none", "label"])
def test_evaluation(tmp_path: Path, moons: Callable[..., Any], condition: str) -> None:
    """The held-out loss is the mean of its intervals, and the baseline is the same in every evaluation."""
    recipe, data = moons(condition=condition, steps=3)
    trainer = Trainer(recipe, data, tmp_path / "run")
    first, second = trainer.evaluate(), trainer.evaluate()
    assert first == second and 0 < first["baseline_loss"] < first["held_out_loss"]
    by_noise = list(first["held_out_loss_by_noise"].values())
    assert len(by_noise) == 10 and sum(by_noise) / 10 == pytest.approx(first["held_out_loss"], rel=0.02)


def test_baseline_in_bfloat16(tmp_path: Path, moons: Callable[..., Any]) -> None:
    """The losses of denoisers without training do not depend on the precision of the network."""
    rows = [Trainer(*moons(precision=p), tmp_path / p).evaluate() for p in ("fp32", "bf16")]
    assert rows[0]["baseline_loss"] == rows[1]["baseline_loss"] and rows[0] != rows[1]


def test_subclass_with_weights(tmp_path: Path, moons: Callable[..., Any]) -> None:
    """The baseline of an objective with weights has the same weights."""

    class Doubled(Denoising):
        def loss(self, module: Any, inputs: Any) -> torch.Tensor:
            return 2 * super().loss(module, inputs)

    recipe, data = moons(steps=3)
    rows = []
    for objective in (Denoising(recipe), Doubled(recipe)):
        module = objective.build().eval()
        objective.start(module, data, Trainer(recipe, data, tmp_path / f"{len(rows)}").indices)
        rows.append(objective.evaluate(module, data, torch.arange(40).numpy()))
    assert rows[1]["baseline_loss"] == pytest.approx(2 * rows[0]["baseline_loss"])
