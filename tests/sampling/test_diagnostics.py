"""What went wrong in a run, and at which noise level: guidance that explodes, models and solvers that fail."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.inverse import Problem, build_restorer
from sdekit.inverse.operators import Mask
from sdekit.processes import EDM, SDE, VP, Denoiser
from sdekit.sampling import sample
from sdekit.sampling.diagnostics import guidance_label

MEANS = torch.tensor([[-1.0, 0.5], [0.7, -0.4], [0.2, 1.0]])
MIXTURE = GaussianMixture(MEANS, torch.tensor([0.4, 0.3, 0.6]))
Y = torch.tensor([0, 1, 2, 0])
PROBLEM = Problem(Mask(torch.tensor([1.0, 0.0])), torch.tensor([0.3, 0.0]))
CFG = registry.build("guidance", "cfg", scale=1000.0)


class Counting:
    """A denoiser that counts its calls."""

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise, self.calls = denoise, 0

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        self.calls += 1
        return self.denoise(x, t, y)


@pytest.mark.parametrize("sampler", ["ddim", "ode"])
@pytest.mark.parametrize(("factor", "how"), [(1e12, "reach"), (100.0, "reach 1e\\+02"), (math.nan, "are not finite")])
def test_exploding_values_name_the_noise_level(sampler: str, factor: float, how: str) -> None:
    """The guidance explodes below rho = 1: the message names that noise level with every sampler."""
    sde = EDM()

    def unstable(sde: SDE, denoise: Denoiser) -> Denoiser:
        return lambda x, t, y=None: denoise(x, t) * torch.where(sde.rho(t) < 1, factor, 1.0).reshape(-1, 1)

    grid = torch.tensor([80.0, 0.8, 0.1]) if sampler == "ddim" else None
    level = rf"guidance unstable: the guided values {how}.* at noise level sigma/alpha = 0\.[5-9]"
    with pytest.raises(InputError, match=rf"{level}.*without guidance: 1 at most"):
        sample(sde, lambda x, t, y=None: 1 + 0 * x, sampler, shape=(2,), n=2, grid=grid, guidance=unstable)


def test_finite_rubbish_is_an_error() -> None:
    """Scale 1000 gives finite numbers, far from any data; scale 20 is a matter of taste."""
    sde, arguments = VP(), dict(shape=(2,), n=4, steps=8, y=Y)
    denoise = MIXTURE.denoiser(sde)
    with pytest.raises(InputError, match=r"guidance cfg:scale=1000: the guided values reach \d+.* sigma/alpha = "):
        sample(sde, denoise, "ddim", guidance=CFG, **arguments)
    assert sample(sde, denoise, "ddim", guidance=registry.build("guidance", "cfg", scale=20.0), **arguments).nfe == 8


@pytest.mark.parametrize(("declared", "calls"), [(True, 8), (False, 16)])
def test_data_in_units_of_their_own(declared: bool, calls: int) -> None:
    """Data a hundred times larger are no explosion: the model declares their size, or an unguided run shows it."""
    sde = EDM(sigma_max=8000.0)
    mixture = GaussianMixture(100 * MEANS, 40.0)
    denoise = Counting(mixture.denoiser(sde))
    guidance = registry.build("guidance", "cfg", scale=2.0)
    if declared:  # a model that says how large its data are
        denoise.data_std = 80.0  # type: ignore[attr-defined]
    drawn = sample(sde, denoise, "ddim", shape=(2,), n=4, steps=8, y=Y, guidance=guidance)
    assert drawn.nfe == 8 and denoise.calls == calls


def test_sane_guidance_costs_no_call() -> None:
    denoise = Counting(MIXTURE.denoiser(VP()))
    drawn = sample(VP(), denoise, "heun", shape=(2,), n=4, nfe=9, y=Y, guidance="cfg")
    assert denoise.calls == drawn.nfe == 9


def test_a_condition_that_is_for_the_guidance_alone() -> None:
    """As with a classifier: the model itself refuses it, and is compared with as it is without."""
    sde = VP()
    base = MIXTURE.denoiser(sde)

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        if y is not None:
            raise InputError("no labels here")
        return base(x, t)

    def push(sde: SDE, denoise: Denoiser) -> Denoiser:
        return lambda x, t, y=None: denoise(x, t) + 500.0 * (y[:, None] + 1)

    with pytest.raises(InputError, match="guidance push: the guided values reach 5e\\+02"):
        sample(sde, denoise, "ddim", shape=(2,), n=1, steps=4, y=Y[:1], guidance=push)


def test_a_model_at_fault_is_blamed_not_its_guidance() -> None:
    sde = VP()
    base = MIXTURE.denoiser(sde)
    broken = lambda x, t, y=None: base(x, t, y) * torch.where(sde.rho(t) < 1, math.nan, 1.0)  # noqa: E731
    with pytest.raises(SdekitError, match="its result is not finite .*check the training of the model"):
        sample(sde, broken, "ddim", shape=(2,), n=4, steps=8, y=Y, guidance="cfg")


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [
        (CFG, "cfg:scale=1000"),
        (registry.build("guidance", "interval"), "interval:from=0.2,to=5"),
        (registry.build("guidance", "cfg-zero-star"), "cfg-zero-star:scale=2,zero_steps=0"),
        (build_restorer("dps", PROBLEM, strength=3.0), "dps:strength=3"),
        (test_sane_guidance_costs_no_call, "test_sane_guidance_costs_no_call"),
        (Counting(MIXTURE.denoiser), "Counting"),
    ],
)
def test_labels(guidance: Any, expected: str) -> None:
    assert guidance_label(guidance) == expected
