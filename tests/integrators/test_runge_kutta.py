"""Runge-Kutta methods: the coefficients of a whole grid are those of its single steps."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.integrators import RungeKutta
from sdekit.processes import SDE, renoise

MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4]]), 0.3)
METHODS = [
    name for name in registry.component_names("sampler") if isinstance(registry.build("sampler", name), RungeKutta)
]  # every installed one


class Euler(RungeKutta):
    """One stage and no change to it."""

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return s[:, None], torch.zeros(len(t), 1, 0, dtype=torch.float64)


@pytest.mark.parametrize("process", registry.component_names("sde"))
@pytest.mark.parametrize("name", METHODS)
def test_steps_make_the_trajectory(name: str, process: str) -> None:
    """The path of a grid is that of its steps taken one by one; each x is new memory."""
    sde, method = registry.build("sde", process), registry.build("sampler", name)
    times, denoise = registry.build("grid", "karras")(sde, 5), MIXTURE.denoiser(sde)
    x = sde.prior(torch.randn(3, 2, dtype=torch.float64))
    path = list(method.trajectory(sde, denoise, x, times, None))
    before = x.clone()
    assert len(path) == 5 and len({v.data_ptr() for v in (x, *path)}) == 6
    for (t, s), x_s in zip(pairwise(times), path, strict=True):
        x = method.step(sde, denoise, x, t, s, None)
        assert torch.allclose(x, x_s, rtol=1e-10, atol=1e-10)
    assert list(method.trajectory(sde, denoise, before, times[:1], None)) == []


@pytest.mark.parametrize("process", registry.component_names("sde"))
def test_one_stage_is_ddim(process: str) -> None:
    """With nothing added, a stage is DDIM's step, from alpha = 0 too."""
    sde = registry.build("sde", process)
    t, s = registry.build("grid", "uniform")(sde, 4)[:2]
    denoise, x = MIXTURE.denoiser(sde), sde.prior(torch.randn(3, 2, dtype=torch.float64))
    expected = renoise(sde, x, denoise(x, t), t, s, None, 0)
    assert torch.allclose(Euler().step(sde, denoise, x, t, s, None), expected, rtol=1e-12, atol=1e-12)  # type: ignore[arg-type]
