"""A sample depends on its seed alone: for every registered sampler, and for every way to run the ODE."""

import pytest
import torch

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.processes import EDM, SDE, VP, RectifiedFlow
from sdekit.sampling import Sampler, sample
from sdekit_plugins.samplers.ddim import DDIM
from sdekit_plugins.samplers.ode import ADAMS, ADAPTIVE, ODE
from sdekit_plugins.samplers.pc import PC

SAMPLERS: dict[str, Sampler] = {
    **{name: registry.build("sampler", name) for name in registry.component_names("sampler")},
    "ddim-eta": DDIM(eta=0.7),
    "pc-langevin": PC(corrector="langevin", corrections=2),
    **{f"ode-{method}": ODE(method=method, rtol=1e-2, atol=1e-2) for method in (*ADAMS, *ADAPTIVE)},
}
MIXTURE = GaussianMixture(torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), 0.2)


CASES = [
    (name, sde)
    for name in SAMPLERS
    for sde in (RectifiedFlow(), VP(), EDM())
    if sde == RectifiedFlow() or name in registry.component_names("sampler")
]


@pytest.mark.parametrize(("name", "sde"), CASES, ids=[f"{name}-{type(sde).__name__}" for name, sde in CASES])
def test_a_sample_depends_on_its_seed_alone(name: str, sde: SDE) -> None:
    """Seed 17 alone, among 64, backwards, and five at a time: one array, to 1e-6 in float32."""
    sampler, denoise = SAMPLERS[name], MIXTURE.denoiser(sde)
    seeds = list(range(12, 20) if sampler.requires_single_sample else range(64))  # the former take their time

    def draw(seeds: list[int], batch_size: int | None = None) -> torch.Tensor:
        steps = None if sampler.default_steps == 2 else 8
        return sample(sde, denoise, sampler, shape=(3,), seeds=seeds, batch_size=batch_size, steps=steps).x

    whole = draw(seeds)
    assert whole.dtype == torch.float32 and whole.std(0).min() > 0.1
    for other in (
        draw([17])[0] - whole[seeds.index(17)],
        draw(seeds[::-1]).flip(0) - whole,
        draw(seeds[:18], batch_size=5) - whole[:18],
    ):
        assert other.abs().max() < 1e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", SAMPLERS)
def test_cuda_draws_the_same_samples(name: str) -> None:
    """On a GPU the same seeds give the same samples, to float32's rounding."""
    sde = VP()
    on_cpu, on_gpu = (
        sample(sde, MIXTURE.denoiser(sde), SAMPLERS[name], shape=(3,), n=4, steps=8, device=device).x.cpu()
        for device in ("cpu", "cuda")
    )
    assert torch.allclose(on_cpu, on_gpu, rtol=0, atol=1e-3)
