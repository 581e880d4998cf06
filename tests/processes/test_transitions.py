"""`renoise` between DDIM (eta = 0) and the ancestral step (eta = 1)."""

import pytest
import torch

from sdekit import registry
from sdekit.processes import SDE, TabulatedVP, as_time, renoise

PROCESSES = registry.component_names("sde")
each_process = pytest.mark.parametrize("sde", [registry.build("sde", name) for name in PROCESSES], ids=PROCESSES)


@pytest.mark.parametrize("sde", [TabulatedVP.linear(), TabulatedVP.cosine()], ids=["linear", "cosine"])
def test_is_ddpms_posterior(sde: TabulatedVP) -> None:
    """With eta = 1, at adjacent knots, mean and variance are Ho et al. 2020, eq. 6-7, from betas alone, to 1e-12."""
    n, betas = len(sde.betas), torch.tensor(sde.betas, dtype=torch.float64)
    bar = (1 - betas).cumprod(0)
    rest = (betas * torch.cat([bar.new_ones(1), bar[:-1]])).cumsum(0)  # 1 - bar, with all its digits
    x0, x = torch.randn(2, 4, 3, dtype=torch.float64)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    for i in [*range(1, 20), *range(20, n, 37), n - 1]:  # beta_{i+1} leads from knot i + 1 to knot i
        t, s = as_time((i + 1) / n), as_time(i / n)
        mean = bar[i - 1].sqrt() * betas[i] / rest[i] * x0 + (1 - betas[i]).sqrt() * rest[i - 1] / rest[i] * x
        variance = rest[i - 1] / rest[i] * betas[i]
        assert torch.allclose(renoise(sde, x, x0, t, s, zero), mean, rtol=0, atol=1e-12)
        fresh = renoise(sde, zero, zero, t, s, one)
        assert torch.allclose(fresh**2, variance.expand_as(fresh), rtol=1e-10, atol=0)


@each_process
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_keeps_the_marginal(sde: SDE, eta: float) -> None:
    """From x_t = alpha x_0 + sigma eps, x_s has mean alpha_s x_0 and variance sigma_s^2, for every eta."""
    for t, s in ((sde.t_max, 0.7), (0.7, 0.3), (0.3, sde.t_min)):
        t, s = as_time(t), as_time(s)
        x0, zero, one = torch.full((2, 1), 1.5, dtype=torch.float64), *torch.tensor([0.0, 1.0], dtype=torch.float64)
        mean = renoise(sde, sde.alpha(t) * x0, x0, t, s, zero.expand(2, 1), eta)
        assert torch.allclose(mean, sde.alpha(s) * x0, rtol=1e-12, atol=1e-14)
        by_eps = renoise(sde, sde.sigma(t).expand(2, 1), 0 * x0, t, s, zero.expand(2, 1), eta)
        by_z = renoise(sde, 0 * x0, 0 * x0, t, s, one.expand(2, 1), eta)
        assert torch.allclose(by_eps**2 + by_z**2, (sde.sigma(s) ** 2).expand(2, 1), rtol=1e-12, atol=0)


@each_process
def test_eta_scales_the_standard_deviation(sde: SDE) -> None:
    """The fresh noise has deviation eta sigma_s sqrt(1 - rho_s^2 / rho_t^2) (Song, Meng & Ermon 2021, eq. 16)."""
    t, s = as_time(0.8), as_time(0.5)
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    full = float(sde.sigma(s) * (1 - (sde.rho(s) / sde.rho(t)) ** 2).sqrt())
    for eta in (0.1, 0.5, 1.0):
        assert abs(float(renoise(sde, zero, zero, t, s, one, eta)) / (eta * full) - 1) < 1e-13


@each_process
def test_eta_zero_is_ddim(sde: SDE) -> None:
    """With eta = 0, x_s is alpha_s x_0 + sigma_s eps, and z may be None and has no effect."""
    x, x0 = torch.randn(2, 5, 3, dtype=torch.float64)
    for t, s in ((sde.t_max, 0.6), (0.6, sde.t_min)):
        t, s = as_time(t), as_time(s)
        expected = sde.alpha(s) * x0 + sde.sigma(s) / sde.sigma(t) * (x - sde.alpha(t) * x0)
        result = renoise(sde, x, x0, t, s, None, 0.0)
        assert torch.allclose(result, expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()))
        assert torch.equal(result, renoise(sde, x, x0, t, s, torch.full_like(x, torch.nan), 0.0))


@each_process
def test_two_ancestral_steps_are_one(sde: SDE) -> None:
    """For a fixed x_0, the steps t to u to s have the same distribution as the step t to s."""
    t, u, s = map(as_time, (0.9, 0.6, 0.2))
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)

    def response(x: torch.Tensor, z1: torch.Tensor, z2: torch.Tensor) -> float:
        return float(renoise(sde, renoise(sde, x, zero, t, u, z1), zero, u, s, z2))

    assert abs(response(one, zero, zero) / float(renoise(sde, one, zero, t, s, zero)) - 1) < 1e-11
    variance = response(zero, one, zero) ** 2 + response(zero, zero, one) ** 2
    assert abs(variance / float(renoise(sde, zero, zero, t, s, one)) ** 2 - 1) < 1e-12


@each_process
def test_times_by_sample(sde: SDE) -> None:
    """t and s (B,) apply sample by sample."""
    x, x0, z = torch.randn(3, 3, 2, dtype=torch.float64)
    t, s = torch.tensor([[0.9, 0.7, 0.5], [0.8, 0.2, 0.4]], dtype=torch.float64)
    rows = torch.cat([renoise(sde, x[i, None], x0[i, None], t[i], s[i], z[i, None], 0.5) for i in range(3)])
    assert torch.allclose(renoise(sde, x, x0, t, s, z, 0.5), rows, rtol=1e-13, atol=1e-13)
