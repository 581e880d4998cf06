"""The scale of x and the time input of a network are properties of the model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.models import CLOCKS, NetworkInput, ScoreModel
from sdekit.processes import EDM, VE, VP, RectifiedFlow, TabulatedVP, as_time

T = torch.tensor([0.25, 0.5], dtype=torch.float64)


class Recorder(nn.Module):
    """A network that stores its inputs."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None) -> Tensor:
        self.x, self.c_noise = x, c_noise
        return torch.zeros_like(x)


def received(inputs: NetworkInput, sde, t: Tensor) -> Recorder:  # type: ignore[no-untyped-def]
    """The inputs of the network for x = 1 at times t."""
    network = Recorder()
    ScoreModel(network, sde, "v", inputs=inputs)(torch.ones(len(t), 3), t)
    return network


def test_index_of_a_table() -> None:
    """Index i of a table of N betas is t = (i + 1)/N, and its network receives i."""
    sde = TabulatedVP.linear(n=1000)
    index = torch.tensor([0, 1, 500, 999])
    inputs = NetworkInput(clock="t", scale=1000, offset=-1, normalize=False)
    seen = received(inputs, sde, (index + 1).double() / 1000)
    assert torch.allclose(seen.c_noise, index.float(), atol=1e-4)
    assert torch.equal(seen.x, torch.ones(4, 3)) and str(inputs) == "1000 t - 1, x unscaled"


def test_clocks_of_other_families() -> None:
    """999 t, sigma, log(sigma / 2), and log(sigma) / 4 with x / std(x_t), which is the default."""
    assert torch.allclose(
        received(NetworkInput(clock="t", scale=999, normalize=False), VP(), T).c_noise.double(), 999 * T
    )
    sigma = torch.tensor([0.5, 20.0], dtype=torch.float64)
    assert torch.allclose(received(NetworkInput(clock="rho", scale=1), EDM(), sigma).c_noise.double(), sigma)
    inputs = NetworkInput(clock="log-rho", scale=1, offset=-math.log(2), normalize=False)
    ve = VE()
    seen = received(inputs, ve, T)
    assert torch.allclose(seen.c_noise.double(), (ve.sigma(T) / 2).log(), rtol=1e-6) and bool((seen.x == 1).all())
    seen = received(NetworkInput(), EDM(), sigma)
    assert torch.allclose(seen.c_noise.double(), sigma.log() / 4, rtol=1e-6)
    assert torch.allclose(seen.x[:, 0].double(), (1 + sigma**2).rsqrt(), rtol=1e-6)


def test_a_clock_at_the_end_of_the_process() -> None:
    """Where alpha is 0, a clock in t is finite, and x_0 of a v-prediction is -F."""
    for sde in (RectifiedFlow(), TabulatedVP.scaled_linear().with_zero_terminal_snr()):
        seen = received(NetworkInput(clock="t", scale=1000, normalize=False), sde, as_time([1.0]))
        assert seen.c_noise.tolist() == [1000.0] and bool((seen.x == 1).all())


def test_bad_clocks() -> None:
    """An unknown clock and numbers that are not finite are refused."""
    with pytest.raises(InputError, match=f"no clock 'time': choose one of {', '.join(CLOCKS)}"):
        NetworkInput(clock="time")
    with pytest.raises(InputError, match="finite scale and offset"):
        NetworkInput(scale=math.nan)
