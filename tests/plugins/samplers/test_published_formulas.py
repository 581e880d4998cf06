"""Samplers equal published methods that are written here in their own variables, lambda = log(alpha / sigma)."""

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from sdekit import VP, GaussianMixture, registry
from sdekit.processes import as_time

SDE = VP()
DENOISE = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4], [0.2, 1.0]]), 0.4).denoiser(SDE)
TIMES = registry.build("grid", "karras")(SDE, 9)
START = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def draws() -> Iterator[Tensor]:
    """The same normal numbers at each call."""
    generator = torch.Generator().manual_seed(6)
    while True:
        yield torch.randn(4, 2, dtype=torch.float64, generator=generator)


def path(name: str, **options: object) -> list[Tensor]:
    """All x of a sampler."""
    noise = draws()
    sampler = registry.build("sampler", name, **options)
    return list(sampler.trajectory(SDE, DENOISE, START, TIMES, lambda t=None, s=None: next(noise)))


def at(lam: float) -> tuple[Tensor, float, float]:
    """Time, alpha and sigma at lambda."""
    t = SDE.time(as_time(math.exp(-lam)))
    return t, float(SDE.alpha(t)), float(SDE.sigma(t))


def steps() -> Iterator[tuple[float, float]]:
    """Lambda at the two ends of each step."""
    levels = [-math.log(float(rho)) for rho in SDE.rho(TIMES)]
    return itertools.pairwise(levels)


def phi_1(z: float) -> float:
    """(e^z - 1) / z."""
    return math.expm1(z) / z


def phi_2(z: float) -> float:
    """(phi_1(z) - 1) / z."""
    return (phi_1(z) - 1) / z


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_seeds_2(eta: float) -> None:
    """`dpmpp-sde` is SEEDS-2 with its second stage in the middle of the step."""
    x, noise, expected = START, draws(), []
    for start, end in steps():
        h, growth = end - start, 1 + eta**2
        t, _, sigma = at(start)
        m, alpha_m, sigma_m = at(start + h / 2)
        _, alpha_s, sigma_s = at(end)
        d = DENOISE(x, t)
        z_1 = math.sqrt(-math.expm1(-h * eta**2)) * next(noise) if eta else torch.zeros_like(x)
        z_2 = math.sqrt(-math.expm1(-h * eta**2)) * next(noise) if eta else z_1
        x_m = sigma_m / sigma * math.exp(-h / 2 * eta**2) * x - alpha_m * math.expm1(-h / 2 * growth) * d
        d_m = DENOISE(x_m + sigma_m * z_1, m)
        x = sigma_s / sigma * math.exp(-h * eta**2) * x - alpha_s * math.expm1(-h * growth) * d_m
        x = x + sigma_s * (math.exp(-h / 2 * eta**2) * z_1 + z_2)
        expected.append(x)
    torch.testing.assert_close(path("dpmpp-sde", eta=eta), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_seeds_3(eta: float) -> None:
    """`seeds-3` is SEEDS-3 with stages at 1/3 and 2/3 of the step, in the functions phi of its authors."""
    x, noise, expected = START, draws(), []
    for start, end in steps():
        h = end - start
        step = h * (1 + eta**2)
        part = math.sqrt(-math.expm1(-2 / 3 * h * eta**2))
        decay = math.exp(-h / 3 * eta**2)
        z = [part * next(noise) if eta else torch.zeros_like(x) for _ in range(3)]
        (t, _, sigma), (u, alpha_u, sigma_u), (v, alpha_v, sigma_v), (_, alpha_s, sigma_s) = (
            at(start + share * h) for share in (0, 1 / 3, 2 / 3, 1)
        )
        d = DENOISE(x, t)
        x_u = sigma_u / sigma * decay * x + alpha_u * step / 3 * phi_1(-step / 3) * d + sigma_u * z[0]
        d_u = DENOISE(x_u, u)
        a_2 = 2 * phi_2(-2 / 3 * step)
        a_1 = phi_1(-2 / 3 * step) - a_2
        x_v = sigma_v / sigma * decay**2 * x + alpha_v * 2 / 3 * step * (a_1 * d + a_2 * d_u)
        d_v = DENOISE(x_v + sigma_v * (decay * z[0] + z[1]), v)
        b_3 = 1.5 * phi_2(-step)
        x = sigma_s / sigma * decay**3 * x + alpha_s * step * ((phi_1(-step) - b_3) * d + b_3 * d_v)
        x = x + sigma_s * (decay**2 * z[0] + decay * z[1] + z[2])
        expected.append(x)
    torch.testing.assert_close(path("seeds-3", eta=eta), expected, rtol=1e-9, atol=1e-9)


def test_res_multistep() -> None:
    """`sa-solver` with tau = 0 and two values is the multistep method RES of second order."""
    x, expected, before = START, [], None
    for start, end in steps():
        h = end - start
        t, _, sigma = at(start)
        _, alpha_s, sigma_s = at(end)
        d = DENOISE(x, t)
        b_2 = 0.0 if before is None else phi_2(-h) / ((before[0] - start) / h)
        x = sigma_s / sigma * x + alpha_s * h * ((phi_1(-h) - b_2) * d + (b_2 * before[1] if before else 0))
        before = (start, d)
        expected.append(x)
    ours = path("sa-solver", tau=0.0, predictor=2, corrector=0)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
