"""Heun: Karras et al.'s Algorithm 1."""

import pytest
import torch

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.processes import EDM
from sdekit.sampling import sample
from sdekit_plugins.samplers.heun import Heun

MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4]]), 0.3)


@pytest.mark.parametrize("steps", [1, 2, 18])
def test_is_algorithm_1(steps: int) -> None:
    """On EDM and its grid it is Karras et al. 2022, Algorithm 1 with sigma(t) = t and s(t) = 1, to 1e-10."""
    sde = EDM()
    denoise, x0 = MIXTURE.denoiser(sde), torch.randn(5, 2, dtype=torch.float64)
    n, p = steps, 7
    t = [(80 ** (1 / p) + i / max(n - 1, 1) * (0.002 ** (1 / p) - 80 ** (1 / p))) ** p for i in range(n)] + [0.0]
    x = t[0] * x0  # line 2
    for i in range(n):
        d = (x - denoise(x, torch.tensor(t[i], dtype=torch.float64))) / t[i]  # line 4
        ahead = x + (t[i + 1] - t[i]) * d  # line 5
        if t[i + 1] != 0:  # line 6
            d2 = (ahead - denoise(ahead, torch.tensor(t[i + 1], dtype=torch.float64))) / t[i + 1]  # line 7
            ahead = x + (t[i + 1] - t[i]) * (d / 2 + d2 / 2)  # line 8
        x = ahead
    result = sample(sde, denoise, Heun(), shape=(2,), x=80 * x0, steps=steps, dtype=torch.float64)
    assert torch.allclose(result.x, x, rtol=0, atol=1e-10)
    assert result.nfe == 2 * steps - 1


@pytest.mark.parametrize(
    "process", [name for name in registry.component_names("sde") if registry.build("sde", name).alpha(1.0) > 1e-3]
)
def test_is_the_design_on_every_process(process: str) -> None:
    """Where alpha stays, it is Heun's method for x / alpha in rho, as plain as it can be written."""
    sde = registry.build("sde", process)
    t, s = torch.tensor([0.7, 0.4], dtype=torch.float64)
    denoise, x = MIXTURE.denoiser(sde), MIXTURE.sample(5, 1, sde, t)
    h = sde.rho(s) - sde.rho(t)
    d = sde.eps(x, denoise(x, t), t)
    x_s = sde.alpha(s) * (x / sde.alpha(t) + h * d)
    d = (d + sde.eps(x_s, denoise(x_s, s), s)) / 2
    expected = sde.alpha(s) * (x / sde.alpha(t) + h * d)
    assert torch.allclose(Heun().step(sde, denoise, x, t, s, None), expected, rtol=1e-11, atol=1e-11)  # type: ignore[arg-type]
