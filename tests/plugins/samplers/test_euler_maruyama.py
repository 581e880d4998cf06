"""Euler-Maruyama: the reverse SDE as printed."""

import pytest
import torch

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.processes import SDE, VE, VP, Cosine, RectifiedFlow, as_time
from sdekit_plugins.samplers.ddpm import DDPM
from sdekit_plugins.samplers.euler_maruyama import EulerMaruyama

MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4]]), 0.3)


@pytest.mark.parametrize(
    ("sde", "f", "g2"),
    [
        (VP(), -0.5 * (0.1 + 0.6 * 19.9), 0.1 + 0.6 * 19.9),
        (RectifiedFlow(), -1 / 0.4, 2 * 0.6 / 0.4),
        (VE(), 0.0, None),
    ],
    ids=["vp", "rectified-flow", "ve"],
)
def test_is_equation_6(sde: SDE, f: float, g2: float | None) -> None:
    """x + (f x - g^2 score)(s - t) + g sqrt(t - s) z, with the published f and g (Song et al. 2021, eq. 6)."""
    t, s = as_time(0.6), as_time(0.55)
    g2 = (
        2 * torch.log(torch.tensor(5000.0, dtype=torch.float64)).item() * float(sde.sigma(t)) ** 2 if g2 is None else g2
    )
    x, z = torch.randn(2, 5, 2, dtype=torch.float64)
    expected = x + (f * x - g2 * MIXTURE.score(x, sde, t)) * -0.05 + (g2 * 0.05) ** 0.5 * z
    result = EulerMaruyama().step(sde, MIXTURE.denoiser(sde), x, t, s, lambda t=None, s=None: z)
    assert torch.allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "sde", [Cosine(), RectifiedFlow(), registry.build("sde", "ddpm-cosine")], ids=lambda sde: type(sde).__name__
)
def test_starts_where_alpha_is_zero(sde: SDE) -> None:
    """From t_max, where f and g are infinite, its step is the ancestral one."""
    t, s = as_time(sde.t_max), as_time(0.9)
    x, z = torch.randn(2, 5, 2, dtype=torch.float64)
    steps = [
        sampler.step(sde, MIXTURE.denoiser(sde), x, t, s, lambda t=None, s=None: z)
        for sampler in (EulerMaruyama(), DDPM())
    ]
    assert steps[0].isfinite().all() and torch.equal(*steps)
