"""Noise levels and noise of a step: functions of (seed, step), with the distributions of the options."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import norm

from sdekit import registry
from sdekit.processes import as_time
from sdekit.runs import TrainOptions
from sdekit.training import draw, seed_from, times

OPTIONS = TrainOptions(steps=1, batch_size=64, noise_top=0.0)
PROCESSES = registry.component_names("sde")


def test_draw_is_a_function_of_seed_and_step() -> None:
    """Equal for equal (seed, step), whatever was drawn before; different for another seed or step."""
    sde = registry.build("sde", "vp")
    first = draw(sde, OPTIONS, (2, 3), 7)
    torch.rand(5)
    draw(sde, OPTIONS, (2, 3), 8)
    again = draw(sde, OPTIONS, (2, 3), 7)
    assert torch.equal(first.t, again.t) and torch.equal(first.eps, again.eps)
    for other in (draw(sde, OPTIONS, (2, 3), 8), draw(sde, replace(OPTIONS, seed=1), (2, 3), 7)):
        assert not torch.equal(first.t, other.t) and not torch.equal(first.eps, other.eps)
    assert first.t.shape == (64,) and first.t.dtype == torch.float64
    assert first.eps.shape == (64, 2, 3) and first.eps.dtype == torch.float32


def test_draw_leaves_the_global_generator_alone() -> None:
    """Drawing takes nothing from torch's global generator."""
    state = torch.get_rng_state()
    draw(registry.build("sde", "vp"), OPTIONS, (2,), 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_keys_are_distinct() -> None:
    """Keys of different numbers differ, and fit torch's seed."""
    keys = {seed_from(seed, use, step) for seed in range(10) for use in range(4) for step in range(50)}
    assert len(keys) == 2000 and max(keys) < 2**63 and min(keys) >= 0
    assert seed_from(1, 2) == seed_from(1, 2)


def test_noise_is_standard_normal() -> None:
    """eps has mean 0 and variance 1."""
    eps = draw(registry.build("sde", "vp"), replace(OPTIONS, batch_size=4096), (8,), 3).eps
    assert abs(eps.mean()) < 0.02 and abs(eps.var() - 1) < 0.03


@pytest.mark.parametrize("name", PROCESSES)
def test_log_normal_levels(name: str) -> None:
    """log rho is N(noise_mean, noise_std^2), quantile by quantile, clamped to the range of the process."""
    sde = registry.build("sde", name)
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    log_rho = sde.rho(times(sde, OPTIONS, u)).log()
    low, high = (float(sde.rho(as_time(t)).log()) for t in (sde.t_min, sde.t_max))
    wanted = torch.tensor(norm.ppf(u.numpy(), OPTIONS.noise_mean, OPTIONS.noise_std)).clamp(low, high)
    assert torch.allclose(log_rho, wanted, atol=1e-6)


@pytest.mark.parametrize("name", PROCESSES)
def test_noise_top_is_log_uniform_up_to_t_max(name: str) -> None:
    """The share noise_top is log-uniform from noise_mean up to the largest level, and the others stay log-normal."""
    sde, options = registry.build("sde", name), replace(OPTIONS, noise_top=0.25)
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    log_rho = sde.rho(times(sde, options, u)).log()
    below = sde.rho(times(sde, OPTIONS, u[:1500] / 0.75)).log()
    torch.testing.assert_close(log_rho[:1500], below, rtol=0, atol=1e-6)
    high = min(float(sde.rho(as_time(sde.t_max))), 1e3)
    evenly = torch.linspace(options.noise_mean, math.log(high), 1001, dtype=torch.float64)[1::2]
    torch.testing.assert_close(log_rho[1500:], evenly, rtol=0, atol=1e-6)


def test_log_normal_moments_of_draws() -> None:
    """Over many steps the drawn log rho has the mean and standard deviation of the options."""
    sde = registry.build("sde", "edm")
    log_rho = torch.cat([sde.rho(draw(sde, OPTIONS, (1,), step).t).log() for step in range(200)])
    assert abs(float(log_rho.mean()) - OPTIONS.noise_mean) < 0.01
    assert abs(float(log_rho.std()) - OPTIONS.noise_std) < 0.02


@pytest.mark.parametrize("name", PROCESSES)
def test_uniform_levels(name: str) -> None:
    """ "uniform" covers [t_min, t_max] evenly, and its ends are reached."""
    sde, options = registry.build("sde", name), replace(OPTIONS, noise="uniform")
    ends = times(sde, options, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    assert ends.tolist() == pytest.approx([sde.t_min, (sde.t_min + sde.t_max) / 2, sde.t_max])


@pytest.mark.parametrize("noise", ["uniform", "log-normal"])
def test_levels_are_stratified_and_shuffled(noise: str) -> None:
    """Each batch has one level in each of its equal parts of probability, in random order."""
    sde, options = registry.build("sde", "ve"), replace(OPTIONS, noise=noise)
    for step in range(5):
        t = draw(sde, options, (1,), step).t
        if noise == "uniform":
            u = (t - sde.t_min) / (sde.t_max - sde.t_min)
        else:
            u = torch.special.ndtr((sde.rho(t).log() - options.noise_mean) / options.noise_std)
        assert torch.equal((u * 64).floor().sort().values, torch.arange(64.0, dtype=torch.float64))
        assert (u.diff() < 0).any() and not math.isnan(float(t.sum()))
