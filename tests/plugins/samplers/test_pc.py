"""Predictor-corrector: Song et al.'s Algorithms 2-5, and invalid options."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.processes import SDE, VE, VP, as_time
from sdekit.sampling import Sampler, SeedNoise, sample
from sdekit_plugins.samplers.pc import PC

MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5, 0.0], [0.7, -0.4, 1.0]]), 0.3)
ONE_STEP = [
    name
    for name in registry.component_names("sampler")
    if type(registry.build("sampler", name)).step is not Sampler.step
    and registry.build("sampler", name).calls_per_step is not None
]


@pytest.mark.parametrize("corrections", [0, 1, 2])
@pytest.mark.parametrize("corrector", ["langevin", "annealed-langevin"])
@pytest.mark.parametrize("sde", [VP(), VE()], ids=["vp", "ve"])
def test_is_the_algorithm(sde: SDE, corrector: str, corrections: int) -> None:
    """The predictor's step, then x + h score(x, s) + sqrt(2 h) z: h by the norms of each sample, or by sigma_s."""
    t, s, snr = as_time(0.6), as_time(0.5), 0.2
    draws = torch.randn(1 + corrections, 5, 3, dtype=torch.float64)
    start = torch.randn(5, 3, dtype=torch.float64)

    def noise() -> Any:
        left = iter(draws)
        return lambda t=None, s=None: next(left)

    sampler = PC(predictor="ddpm", corrector=corrector, corrections=corrections, snr=snr)  # type: ignore[arg-type]
    result = sampler.step(sde, MIXTURE.denoiser(sde), start, t, s, noise())
    x = registry.build("sampler", "ddpm").step(sde, MIXTURE.denoiser(sde), start, t, s, noise())
    for z in draws[1:]:
        score = MIXTURE.score(x, sde, s)
        rows = []
        for i in range(5):
            size = float(sde.sigma(s)) if corrector == "annealed-langevin" else float(z[i].norm() / score[i].norm())
            h = 2 * (snr * size) ** 2
            rows.append(x[i] + h * score[i] + (2 * h) ** 0.5 * z[i])
        x = torch.stack(rows)
    assert torch.allclose(result, x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("predictor", ONE_STEP)
def test_any_sampler_predicts(predictor: str) -> None:
    """Without corrections it is its predictor; its calls are the predictor's and the corrections'."""
    sde, arguments = VP(), {"shape": (3,), "n": 3, "steps": 6, "grid": "karras", "dtype": torch.float64}
    bare = registry.build("sampler", predictor)
    result = sample(sde, MIXTURE.denoiser(sde), PC(predictor=predictor, corrections=0), **arguments)  # type: ignore[arg-type]
    times, noise = registry.build("grid", "karras")(sde, 5), SeedNoise(range(3), (3,), dtype=torch.float64)
    *_, x = Sampler.trajectory(bare, sde, MIXTURE.denoiser(sde), sde.prior(noise()), times, noise)
    assert torch.equal(result.x, MIXTURE.denoiser(sde)(x, times[-1]))
    assert PC(predictor=predictor, corrections=3).calls_per_step == bare.calls_per_step + 3


def test_the_noise_is_fresh() -> None:
    """Predictor and corrections draw one after the other: none sees a draw twice."""
    count = 0

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        nonlocal count
        count += 1
        return torch.zeros(2, 3)

    PC(predictor="ddpm", corrections=3).step(
        VP(), MIXTURE.denoiser(VP()), torch.zeros(2, 3), as_time(0.6), as_time(0.5), noise
    )
    assert count == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corrections": -1}, "pc: needs corrections >= 0 and snr > 0, got -1"),
        ({"snr": 0.0}, "and 0.0"),
        ({"corrector": "metropolis"}, "pc: corrector must be 'langevin' or 'annealed-langevin', got 'metropolis'"),
        ({"predictor": "ode"}, "pc: 'ode' cannot be the predictor, because it has no single steps"),
        ({"predictor": "ddmp"}, "no sampler 'ddmp'; did you mean 'ddpm'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """An invalid option raises an error when the sampler is built."""
    with pytest.raises(InputError, match=message):
        PC(**options)
