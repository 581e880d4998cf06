"""DDIM: torchdiffeq's Euler, the closed form and diffusers are one method."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.models import ScoreModel
from sdekit.processes import VP, TabulatedVP, as_time
from sdekit.sampling import SeedNoise, sample
from sdekit_plugins.samplers import ddim
from sdekit_plugins.samplers.ddim import DDIM

SOLVERS: tuple[Any, ...] = ("torchdiffeq", "closed-form")
PROCESSES = registry.component_names("sde")
MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5, 0.2], [0.7, -0.4, -1.0]]), 0.3)


@pytest.mark.parametrize("grid", registry.component_names("grid"))
@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("process", PROCESSES)
def test_torchdiffeq_is_the_closed_form(process: str, steps: int, grid: str) -> None:
    """Euler by torchdiffeq is the loop over alpha_s x_0 + sigma_s eps at every time, to 1e-12 of the largest x."""
    sde = registry.build("sde", process)
    denoise, times = MIXTURE.denoiser(sde), registry.build("grid", grid)(sde, steps)
    start = x = sde.prior(torch.randn(4, 3, dtype=torch.float64))
    by_solver, by_steps = (
        DDIM(solver=solver).trajectory(sde, denoise, start, times, SeedNoise([0] * 4, (3,))) for solver in SOLVERS
    )
    for t, s, solved, stepped in zip(times, times[1:], by_solver, by_steps, strict=False):
        x0 = denoise(x, t)
        x = sde.alpha(s) * x0 + sde.sigma(s) * (x - sde.alpha(t) * x0) / sde.sigma(t)
        tolerance = 1e-12 * float(start.abs().max().clamp(min=1.0))
        assert (stepped - x).abs().max() < tolerance and (solved - x).abs().max() < tolerance


def test_a_path_in_parts_is_the_path_of_odeint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path equals the result of `odeint` for the same field, to rounding, in one part or in several."""
    sde = VP()
    denoise, times, x = MIXTURE.denoiser(sde), registry.build("grid", "karras")(sde, 20), torch.randn(4, 3).double()
    clock, sigma, known = sde.alpha(times) / sde.sigma(times), sde.sigma(times), iter(times)

    def field(_: Tensor, y: Tensor) -> Tensor:
        t = next(known)
        return denoise(sde.sigma(t) * y, t)

    expected = sigma[1:, None, None] * odeint(field, x / sigma[0], clock, method="euler")[1:]
    solver = DDIM()
    for most in (ddim.LARGEST_PATH, 5 * x.numel()):
        monkeypatch.setattr(ddim, "LARGEST_PATH", most)
        path = torch.stack(list(solver.trajectory(sde, denoise, x, times, SeedNoise([0] * 4, (3,)))))
        torch.testing.assert_close(path, expected, rtol=1e-13, atol=1e-13)


def test_float32_agrees() -> None:
    """In float32 the two ways differ by rounding alone."""
    sde, x = VP(), torch.randn(4, 3)
    times = registry.build("grid", "karras")(sde, 50)
    by_solver, by_steps = (
        list(DDIM(solver=solver).trajectory(sde, MIXTURE.denoiser(sde), x, times, SeedNoise([0] * 4, (3,))))[-1]
        for solver in SOLVERS
    )
    assert by_solver.dtype == torch.float32 and torch.allclose(by_solver, by_steps, rtol=0, atol=2e-5)


def test_eta_is_between_ddim_and_ddpm() -> None:
    """eta = 1 is the registered ddpm, draw for draw; eta = 0 draws nothing; out of [0, 1] is refused."""
    sde = VP()
    arguments: dict[str, Any] = {"shape": (3,), "n": 4, "steps": 12, "grid": "karras", "dtype": torch.float64}
    ancestral = sample(sde, MIXTURE.denoiser(sde), "ddpm", **arguments)
    assert torch.equal(sample(sde, MIXTURE.denoiser(sde), DDIM(eta=1.0), **arguments).x, ancestral.x)
    (x,) = DDIM().trajectory(sde, MIXTURE.denoiser(sde), torch.zeros(1, 3), torch.tensor([1.0, 0.5]), None)  # type: ignore[arg-type]
    assert x.shape == (1, 3)
    for eta in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="ddim: eta must be between 0 .* and 1"):
            DDIM(eta=eta)
    with pytest.raises(InputError, match="solver must be 'torchdiffeq' or 'closed-form', got 'scipy'"):
        DDIM(solver="scipy")  # type: ignore[arg-type]


class Net(nn.Module):
    """An eps network of moderate slope in x and in the noise level."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return 0.8 * x + 0.3 * torch.sin(2 * x.flip(1) + c_noise[:, None])


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("calls", [10, 50])
def test_equals_diffusers(calls: int, spacing: str, eta: float) -> None:
    """diffusers' DDIMScheduler, on the same network and noise, has the same x after every step to 1e-5 in float32."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing=spacing, beta_start=1e-4, beta_end=0.02)
    scheduler.set_timesteps(calls)
    sde, network = TabulatedVP.linear(), Net()
    times = (scheduler.timesteps.double() + 1) / 1000  # index i is the knot (i + 1) / N
    noise = SeedNoise(range(4), (3,))
    x = sde.prior(noise())  # "leading" starts below t_max
    model = ScoreModel(network, sde, "eps")
    result = sample(sde, model, DDIM(eta=eta), shape=(3,), x=x, seeds=range(4), grid=times, trajectory=True)
    assert result.nfe == calls and result.trajectory is not None
    for i, index in enumerate(scheduler.timesteps):
        t = as_time((int(index) + 1) / 1000)
        output = network(x, (sde.rho(t).log() / 4).float().expand(4))
        z = noise() if eta and i + 1 < calls else torch.zeros_like(x)
        x = scheduler.step(output, index, x, eta=eta, variance_noise=z if eta else None).prev_sample
        ours = result.trajectory[i + 1]
        assert torch.allclose(ours, x, rtol=1e-5, atol=1e-5), (i, (ours - x).abs().max())
