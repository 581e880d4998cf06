"""The stochastic samplers that diffusers has too: the same network and noise give the same x after every step."""

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdekit.model import ScoreModel
from sdekit.noise import SeedNoise
from sdekit.processes import TabulatedVP
from sdekit.sampling import Sampler, sample
from sdekit.sde import as_time
from sdekit_plugins.dpmpp_2m_sde import DPMpp2MSDE
from sdekit_plugins.euler_ancestral import EulerAncestral
from sdekit_plugins.sa_solver import SASolver


class Net(nn.Module):
    """An eps network of moderate slope in x and in the noise level."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return 0.8 * x + 0.3 * torch.sin(2 * x.flip(1) + c_noise[:, None])


SA: dict[str, Any] = {"tau_func": lambda t: 1.0, "lower_order_final": False, "predictor_order": 1, "corrector_order": 1}
CASES = [
    (EulerAncestral(), "euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {}),
    (DPMpp2MSDE(), "dpmsolver_multistep", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    # its weights for two values have a further term, "for few steps": with more it starts with those
    (SASolver(predictor=1, corrector=1), "sasolver", "SASolverScheduler", SA),
]


@pytest.mark.parametrize("calls", [20, 50])
@pytest.mark.parametrize(("sampler", "module", "name", "options"), CASES, ids=["euler", "dpmpp-2m", "sa-solver"])
def test_equals_diffusers(
    sampler: Sampler, module: str, name: str, options: dict[str, Any], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every x on the way but the last is equal to 1e-4 of its size, in float32; the last goes to another end."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = getattr(diffusers, name)(timestep_spacing="trailing", beta_start=1e-4, beta_end=0.02, **options)
    scheduler.set_timesteps(calls)
    sde, network = TabulatedVP.linear(), Net()
    indices = scheduler.timesteps.double()
    times = (indices + 1) / 1000  # index i is the knot (i + 1) / N
    result = sample(
        sde, ScoreModel(network, sde, "eps"), sampler, shape=(3,), seeds=range(4), grid=times, trajectory=True
    )
    assert result.trajectory is not None
    noise = SeedNoise(range(4), (3,))
    x = sde.prior(noise()).float()
    monkeypatch.setattr(
        import_module(f"diffusers.schedulers.scheduling_{module}"), "randn_tensor", lambda *a, **k: noise()
    )
    variance_exploding = isinstance(sampler, EulerAncestral)  # its x is ours over alpha
    x = x / sde.alpha(times[0]).float() if variance_exploding else x
    for i, index in enumerate(scheduler.timesteps[:-1]):
        t, s = times[i], times[i + 1]
        inputs = scheduler.scale_model_input(x, index)
        output = network(inputs, (sde.rho(as_time(t)).log() / 4).float().expand(4))
        x = scheduler.step(output, index, x).prev_sample
        ours = result.trajectory[i + 1] / (sde.alpha(s).float() if variance_exploding else 1)
        assert torch.allclose(ours, x, rtol=1e-4, atol=1e-4), (i, (ours - x).abs().max())
