"""Energy guidance, on Gaussians, whose mean a linear energy shifts."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.processes import VP, RectifiedFlow, as_time
from sdekit.sampling import sample
from sdekit_plugins.guidance.energy import LARGEST_RHO, energy

STD, SLOPE = 0.7, torch.tensor([0.8, -0.5], dtype=torch.float64)
GAUSS = GaussianMixture(torch.tensor([[0.5, 0.2]]), STD)
MOVED = GaussianMixture(torch.tensor([[0.5, 0.2]]) - 2.0 * STD**2 * SLOPE, STD)
"""The distribution with the density of GAUSS times exp(-2 SLOPE x_0)."""


def linear(x: Tensor) -> Tensor:
    return x.flatten(1) @ SLOPE.to(x.dtype)


@pytest.mark.parametrize("name", registry.component_names("sde"))
@pytest.mark.parametrize("through", ["network", "x0"])
def test_a_linear_energy_is_exact_on_a_gaussian(name: str, through: str) -> None:
    """D' is the denoiser of p(x_0) exp(-scale E(x_0)), for t () and t (B,)."""
    sde = registry.build("sde", name)
    guided = energy(sde, GAUSS.denoiser(sde), function=linear, scale=2.0, through=through, data_std=STD)
    rho = torch.tensor([0.01, 0.3, 2.0, 50.0, 90.0], dtype=torch.float64)
    t = sde.time(rho).clamp(sde.t_min, sde.t_max)
    x = torch.randn(5, 2, dtype=torch.float64) * (1 + rho[:, None])
    torch.testing.assert_close(guided(x, t), MOVED.denoiser(sde)(x, t), rtol=0, atol=1e-8)
    torch.testing.assert_close(guided(x[:1], t[0]), guided(x, t)[:1], rtol=0, atol=1e-8)


def test_above_the_largest_level_it_stays_finite() -> None:
    """At a time where alpha is 0, the change is that at rho = LARGEST_RHO."""
    sde, x = RectifiedFlow(), torch.randn(3, 2, dtype=torch.float64)
    out = energy(sde, GAUSS.denoiser(sde), function=linear, scale=2.0)(x, as_time(1.0))
    torch.testing.assert_close(out, MOVED.denoiser(sde)(x, as_time(1.0)), rtol=0, atol=3 / LARGEST_RHO)


def test_of_the_noisy_x() -> None:
    """Multiplying the density of x_t by exp(-E(x_t, t)) changes the score by -grad E."""
    sde, t = VP(), as_time(0.5)
    x = torch.randn(3, 2, dtype=torch.float64)
    guided = energy(sde, GAUSS.denoiser(sde), function=lambda z, u: z @ SLOPE, scale=2.0, through="xt")(x, t)
    score = sde.score(x, guided, t)
    torch.testing.assert_close(score, GAUSS.score(x, sde, t) - 2.0 * SLOPE)


def test_one_network_call_and_scale_0_is_the_model() -> None:
    sde = VP()
    arguments = dict(shape=(2,), n=3, steps=6)
    for through in ("network", "x0"):
        guidance = [partial(energy, function=linear, through=through)]
        assert sample(sde, GAUSS.denoiser(sde), "heun", guidance=guidance, **arguments).nfe == 11
    off = sample(sde, GAUSS.denoiser(sde), "ddim", guidance=[partial(energy, function=linear, scale=0.0)], **arguments)
    assert torch.equal(off.x, sample(sde, GAUSS.denoiser(sde), "ddim", **arguments).x)


@pytest.mark.parametrize("sampler", ["ode", "ddpm", "pc"])
def test_samples_follow_the_energy(sampler: str) -> None:
    """The mean of the samples is that of the shifted Gaussian."""
    guidance = [partial(energy, function=linear, scale=2.0)]
    drawn = sample(VP(), GAUSS.denoiser(VP()), sampler, shape=(2,), n=200, guidance=guidance, dtype=torch.float64)
    torch.testing.assert_close(drawn.x.mean(0), MOVED.means[0], rtol=0, atol=5 * STD / 200**0.5)


def test_a_function_by_name() -> None:
    x, t = torch.randn(3, 2), as_time(0.5)
    named = energy(VP(), GAUSS.denoiser(VP()), function="torch.nn.functional:softplus", through="x0")
    given = energy(VP(), GAUSS.denoiser(VP()), function=torch.nn.functional.softplus, through="x0")
    assert torch.equal(named(x, t), given(x, t))
    for bad, message in (
        ("", "say which function"),
        ("torch", "say which function"),
        ("torch:no", "cannot be imported"),
        ("no_such_module:f", "cannot be imported"),
    ):
        with pytest.raises(InputError, match=message):
            energy(VP(), GAUSS.denoiser(VP()), function=bad)


@pytest.mark.parametrize("through", ["network", "x0", "xt"])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, t=None: 1 / 0, r"failed on x \(2, 2\) torch.float32: ZeroDivisionError: division by zero"),
        (lambda x, t=None: 0.0, "returned a float: compute E"),
        (lambda x, t=None: x.detach().sum(1), "returned a tensor without gradient: compute E"),
    ],
)
def test_a_function_that_will_not_do(function: Any, message: str, through: str) -> None:
    """An error of the function, or a result without gradient, raises InputError with its name."""
    guided = energy(VP(), GAUSS.denoiser(VP()), function=function, through=through)
    with pytest.raises(InputError, match=f"energy: function <lambda> {message}"):
        guided(torch.randn(2, 2), as_time(0.5))


def test_a_network_without_gradients() -> None:
    """A network without gradients has an error of its own, and works with through=x0."""
    x, t = torch.randn(2, 2), as_time(0.5)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return GAUSS.denoiser(VP())(x, t).detach()

    with pytest.raises(InputError, match="the network gives no gradients"):
        energy(VP(), lambda x, t, y=None: denoise(x, t), function=linear)(x, t)
    assert energy(VP(), lambda x, t, y=None: denoise(x, t), function=linear, through="x0")(x, t).isfinite().all()
