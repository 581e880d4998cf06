"""Samplers that need a finite noise level start at rho = 1000, with the variance of x there."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sdekit import verify
from sdekit.distributions import GaussianMixture
from sdekit.integrations.k_diffusion import sampler as as_function
from sdekit.processes import SDE, VE, VP, Cosine, Denoiser, RectifiedFlow, as_time
from sdekit.sampling import Noise, Sampler, sample, start_at_finite_rho

NORMAL = GaussianMixture(torch.zeros(1, 2), 1.0)


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """Heun's method in rho, as printed in the paper (Karras et al. 2022, Algorithm 1)."""

    order = 2
    calls_per_step = 2
    requires_finite_rho = True

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        h = sde.rho(s) - sde.rho(t)
        d = sde.eps(x, denoise(x, t), t)
        x_s = sde.alpha(s) * (x / sde.alpha(t) + h * d)
        return x_s + sde.alpha(s) * h / 2 * (sde.eps(x_s, denoise(x_s, s), s) - d)


@dataclass(frozen=True, kw_only=True)
class Undeclared(Heun):
    requires_finite_rho = False


@pytest.mark.parametrize("sde", [Cosine(), RectifiedFlow()])
def test_a_formula_in_rho_samples_every_process(sde: SDE) -> None:
    """A method that divides by alpha starts at rho = 1000 and draws samples of the right variance."""
    samples = sample(sde, NORMAL.denoiser(sde), Heun(), shape=(2,), n=500, steps=40, dtype=torch.float64)
    assert samples.times[0] < sde.t_max and abs(float(sde.rho(samples.times[0])) - 1000) < 1e-6
    assert samples.nfe == 79 and 0.9 < float(samples.x.std()) < 1.1


def test_a_given_x_is_scaled_to_the_first_noise_level() -> None:
    """An x at t_max, where alpha is 0, gives the same sample as the same noise drawn by `sample`."""
    sde, noise = RectifiedFlow(), torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    options = {"shape": (2,), "steps": 8}
    path = sample(sde, NORMAL.denoiser(sde), Heun(), x=sde.prior(noise), trajectory=True, **options).trajectory
    assert path is not None
    assert torch.allclose(path[0], noise * (1 + 1000**2) ** 0.5 / 1001, rtol=1e-5)
    function = as_function(Heun(), process="flow")
    sigmas = torch.cat([sample(sde, NORMAL.denoiser(sde), "ddim", n=1, **options).times, torch.zeros(1)])
    other = function(lambda x, sigma: NORMAL.denoiser(sde)(x, sigma), noise, sigmas)
    assert torch.allclose(other, path[-1], atol=1e-5)


@pytest.mark.parametrize("sde", [VP(), VE()])
def test_a_grid_that_starts_at_a_finite_level_is_unchanged(sde: SDE) -> None:
    """The trait has no effect if alpha is at least 1 / 1000 at the first time, or if it is not declared."""
    times = torch.tensor([sde.t_max, sde.t_min], dtype=torch.float64)
    assert start_at_finite_rho(Heun(), sde, times) == (times, 1.0)
    times = torch.tensor([1.0, 0.5], dtype=torch.float64)
    assert start_at_finite_rho(Undeclared(), RectifiedFlow(), times) == (times, 1.0)


def test_verify_names_the_cause_once() -> None:
    """Without the trait, one check reports the division by alpha = 0, and the checks that repeat it are skipped."""
    checks = [c for c in verify.checks(Undeclared(), quick=True) if not str(c).startswith(("finite", "marginals"))]
    report = verify.run_checks("undeclared", "sampler", checks)
    (failed,) = report.failures
    assert failed.name == "runs[rectified-flow]" and failed.measured == "x is not finite after the first step"
    assert "alpha = 0" in failed.cause and "requires_finite_rho = True" in failed.cause
    assert {r.measured for r in report.skipped} == {"follows from runs[rectified-flow]"}
    verify.run_checks("heun", "sampler", verify.checks(Heun(), quick=True)).raise_on_failure()


def test_the_level_is_that_of_the_process_that_verify_measures() -> None:
    """The checks run on processes that start at the same level."""
    (check,) = (c for c in verify.checks(Heun(), quick=True) if str(c) == "runs[rectified-flow]")
    sde = check.measure.args[1]  # type: ignore[attr-defined]
    assert sde.t_max == float(sde.time(as_time(1000.0)))
