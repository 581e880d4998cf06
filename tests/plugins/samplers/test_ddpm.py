"""DDPM: Ho et al.'s Algorithm 2 and diffusers, step for step."""

import pytest
import torch
from torch import Tensor, nn

from sdekit.models import ScoreModel
from sdekit.processes import TabulatedVP, as_time
from sdekit.sampling import SeedNoise, sample
from sdekit_plugins.samplers.ddpm import DDPM


class Net(nn.Module):
    """An eps network of moderate slope in x and in the noise level."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return 0.8 * x + 0.3 * torch.sin(2 * x.flip(1) + c_noise[:, None])


@pytest.mark.parametrize("n", [20, 200])
def test_is_algorithm_2(n: int) -> None:
    """Through all knots it is Ho et al. 2020, Algorithm 2, with sigma^2 = beta-tilde, to 1e-11."""
    sde, network = TabulatedVP.linear(n=n, beta_max=4 / n), Net()
    betas = torch.tensor(sde.betas, dtype=torch.float64)
    bar = (1 - betas).cumprod(0)
    times = torch.arange(n, 0, -1, dtype=torch.float64) / n
    result = sample(
        sde, ScoreModel(network, sde, "eps"), DDPM(), shape=(3,), n=4, grid=times, dtype=torch.float64, trajectory=True
    )
    noise = SeedNoise(range(4), (3,), dtype=torch.float64)
    x = noise() * (1 - bar[-1]).sqrt()
    for step, i in enumerate(range(n - 1, -1, -1)):
        eps = network(x, (sde.rho(as_time((i + 1) / n)).log() / 4).expand(4))
        mean = (x - betas[i] / (1 - bar[i]).sqrt() * eps) / (1 - betas[i]).sqrt()
        x = mean if i == 0 else mean + (betas[i] * (1 - bar[i - 1]) / (1 - bar[i])).sqrt() * noise()
        assert result.trajectory is not None
        assert torch.allclose(result.trajectory[step + 1], x, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("calls", [10, 50])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_equals_diffusers(calls: int, spacing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers' DDPMScheduler (fixed_small), on the same network and noise, has the same x at every step to 1e-5."""
    diffusers = pytest.importorskip("diffusers")
    from diffusers.schedulers import scheduling_ddpm

    scheduler = diffusers.DDPMScheduler(
        clip_sample=False, variance_type="fixed_small", timestep_spacing=spacing, beta_start=1e-4, beta_end=0.02
    )
    scheduler.set_timesteps(calls)
    sde, network = TabulatedVP.linear(), Net()
    times = (scheduler.timesteps.double() + 1) / 1000  # index i is the knot (i + 1) / N
    model = ScoreModel(network, sde, "eps")
    noise = SeedNoise(range(4), (3,))
    x = sde.prior(noise())  # "leading" starts below t_max
    result = sample(sde, model, DDPM(), shape=(3,), x=x, seeds=range(4), grid=times, trajectory=True)
    assert result.trajectory is not None
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *args, **kwargs: noise())
    for i, index in enumerate(scheduler.timesteps):
        output = network(x, (sde.rho(as_time((int(index) + 1) / 1000)).log() / 4).float().expand(4))
        x = scheduler.step(output, index, x).prev_sample
        ours = result.trajectory[i + 1]
        assert torch.allclose(ours, x, rtol=1e-5, atol=1e-5), (i, (ours - x).abs().max())
