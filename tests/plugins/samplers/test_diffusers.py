"""The samplers that diffusers has too: the same network and noise give the same x at every call, or after every step.

The deterministic multistep ones are in test_multistep_orders.py, ddim in test_ddim.py.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdekit import GaussianMixture
from sdekit.models import ScoreModel
from sdekit.processes import Cosine, RectifiedFlow, TabulatedVP, as_time
from sdekit.registry import build
from sdekit.sampling import Sampler, SeedNoise, sample
from sdekit_plugins.samplers.dpmpp_2m_sde import DPMpp2MSDE
from sdekit_plugins.samplers.dpmpp_2s import DPMpp2S
from sdekit_plugins.samplers.dpmpp_sde import DPMppSDE
from sdekit_plugins.samplers.euler_ancestral import EulerAncestral
from sdekit_plugins.samplers.ipndm import IPNDM
from sdekit_plugins.samplers.sa_solver import SASolver


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


class Calls:
    """An eps network that keeps every x that it was shown."""

    def __init__(self) -> None:
        self.network, self.seen = Net(), list[Tensor]()

    def __call__(self, x: Tensor, log_rho: Tensor) -> Tensor:
        """x (B, *) at noise level exp(log_rho), 0-dim."""
        self.seen.append(x)
        return Net()(x, (log_rho / 4).float().expand(len(x)))


def shown(sampler: Sampler, sde: Any, x: Tensor, times: Tensor, noise: Any = None) -> list[Tensor]:
    """The x that the network is shown on the way."""
    calls = Calls()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        rho = sde.rho(t)
        return (x - (sde.sigma(t)) * calls(x, rho.log())) / sde.alpha(t)

    for _ in sampler.trajectory(sde, denoise, x, times, noise):
        pass
    return calls.seen


def same(ours: list[Tensor], theirs: list[Tensor], least: int) -> None:
    """Equal to 1e-4 of their size in float32, the first ones that both have, at least so many."""
    assert min(len(ours), len(theirs)) >= least
    for i, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4), (i, (a - b).abs().max())


def test_dpmpp_2s_equals_diffusers() -> None:
    """Its single steps of second order go over two points of its grid, the middle being the first of them."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DPMSolverSinglestepScheduler(
        beta_start=1e-4, beta_end=0.02, solver_order=2, use_exponential_sigmas=True
    )
    theirs.set_timesteps(14)
    sde, calls = TabulatedVP.linear(), Calls()
    x = start = torch.randn(4, 3)
    rho = theirs.sigmas.double()
    for i, index in enumerate(theirs.timesteps):
        x = theirs.step(calls(x, rho[i].log()), index, x).prev_sample
    ours = shown(DPMpp2S(), sde, start, sde.time(rho[:13:2]))
    same(ours, calls.seen, 12)


def test_ipndm_equals_diffusers() -> None:
    """Theirs is for v on the circle alpha = cos(pi t / 2), there called alphas and betas; from its second time on."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.IPNDMScheduler()
    theirs.set_timesteps(12)
    theirs.set_begin_index(1)  # at the first one alpha is 0
    sde, calls = Cosine(s=0.0, t_max=float(theirs.timesteps[1])), Calls()
    x = start = torch.randn(4, 3)
    times = theirs.timesteps[1:].double()
    for t in times:
        eps = calls(x, sde.rho(t).log())
        x0 = (x - sde.sigma(t).float() * eps) / sde.alpha(t).float()
        v = sde.alpha(t).float() * eps - sde.sigma(t).float() * x0
        x = theirs.step(v, t, x).prev_sample
    same(shown(IPNDM(), sde, start, times), calls.seen, 10)


def test_dpmpp_sde_equals_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same noise: theirs requests the noise of the first half of a step and then that of the whole step."""
    pytest.importorskip("diffusers")
    name = "diffusers.schedulers.scheduling_dpmsolver_sde"
    monkeypatch.setitem(sys.modules, "torchsde", ModuleType("torchsde"))  # for a noise that is not used here
    monkeypatch.delitem(sys.modules, name, raising=False)
    theirs = import_module(name).DPMSolverSDEScheduler(beta_start=1e-4, beta_end=0.02)
    theirs.set_timesteps(12)
    sde, calls, noise = TabulatedVP.linear(), Calls(), SeedNoise(range(4), (3,))
    halves = list[tuple[Tensor, Tensor, Tensor]]()

    def brownian_noise(start: Tensor, end: Tensor) -> Tensor:
        if not halves:
            halves.append((start, end, noise()))
            return halves[0][2]
        _, middle, first = halves.pop()
        # x / alpha at the end: the noise of the first half is forgotten by (end / middle)^2
        a = (end / middle) ** 2 * middle * (1 - (middle / start) ** 2).sqrt()
        b = end * (1 - (end / middle) ** 2).sqrt()
        return (a * first + b * noise()) / torch.hypot(a, b)

    theirs.noise_sampler = brownian_noise
    rho = theirs.sigmas[:-1].double().unique().flip(0)
    start = torch.randn(4, 3)
    x = start / sde.alpha(sde.time(rho[0])).float()  # theirs is x / alpha
    for index in theirs.timesteps[:-1]:
        given = theirs.scale_model_input(x, index)
        level = theirs.sigmas[theirs.step_index] if theirs.state_in_first_order else theirs.mid_point_sigma
        x = theirs.step(calls(given, level.double().log()), index, x).prev_sample
    same(shown(DPMppSDE(), sde, start, sde.time(rho), SeedNoise(range(4), (3,))), calls.seen, 20)


@pytest.mark.parametrize(
    ("name", "options", "scheduler", "theirs"),
    [
        ("unipc", {"order": 2}, "UniPCMultistepScheduler", {}),
        ("unipc", {"order": 3}, "UniPCMultistepScheduler", {"solver_order": 3}),
        ("dpmpp-2m", {}, "DPMSolverMultistepScheduler", {}),
    ],
)
def test_flow_schedulers(name: str, options: dict[str, Any], scheduler: str, theirs: dict[str, Any]) -> None:
    """On a rectified flow, all x but the last are equal if both start at rho = 999.

    The scheduler of UniPC starts at sigma = 0.999999, rho = 1e6. At this start, sdekit interpolates as if rho were 1e3.
    """
    diffusers = pytest.importorskip("diffusers")
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 1.0}
    other = getattr(diffusers, scheduler)(**flow, **theirs)
    other.set_timesteps(10)
    other.sigmas = other.sigmas.double()
    other.sigmas[0] = 0.999
    sde, sigmas = RectifiedFlow(), other.sigmas.clone()
    denoise = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4]]), 0.4).denoiser(sde)
    start = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = build("sampler", name, **options).trajectory(sde, denoise, start, sigmas[:-1], None)
    x = start
    for i, (expected, index) in enumerate(zip(ours, other.timesteps[:-2], strict=False)):
        velocity = (x - denoise(x, sigmas[i])) / sigmas[i]
        x = other.step(velocity, index, x, return_dict=False)[0]
        torch.testing.assert_close(x.double(), expected, rtol=0, atol=1e-6)
