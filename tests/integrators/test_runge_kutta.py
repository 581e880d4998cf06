"""Runge-Kutta methods: the coefficients of a whole grid are those of its single steps."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.integrators import RungeKutta, Stage, ddim_weight, tableau_stages
from sdekit.processes import SDE, FlowCoordinates, renoise

MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4]]), 0.3)
METHODS = [
    name for name in registry.component_names("sampler") if isinstance(registry.build("sampler", name), RungeKutta)
]  # every installed one


class Euler(RungeKutta):
    """The tableau of one stage."""

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> list[Stage]:
        return tableau_stages(FlowCoordinates(sde), t, [s], [[1.0]])


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
    """Euler's tableau is DDIM's step, from alpha = 0 too."""
    sde = registry.build("sde", process)
    t, s = registry.build("grid", "uniform")(sde, 4)[:2]
    denoise, x = MIXTURE.denoiser(sde), sde.prior(torch.randn(3, 2, dtype=torch.float64))
    expected = renoise(sde, x, denoise(x, t), t, s, None, 0)
    assert torch.allclose(Euler().step(sde, denoise, x, t, s, None), expected, rtol=1e-12, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("process", registry.component_names("sde"))
@pytest.mark.parametrize("name", METHODS)
def test_a_constant_denoiser_is_solved_exactly(name: str, process: str) -> None:
    """The weights of every stage add up to DDIM's."""
    sde, method = registry.build("sde", process), registry.build("sampler", name)
    times = registry.build("grid", "karras")(sde, 5)
    stages = method.stages(sde, times[:-1], times[1:])
    assert len(stages) == method.calls_per_step and torch.equal(stages[-1][0], times[1:])
    for u, weights in stages:
        total = sum(weights) + torch.zeros(5, dtype=torch.float64)
        assert torch.allclose(total, ddim_weight(sde, times[:-1], u), rtol=1e-9, atol=1e-9)


THIRD = 1 / 3
TABLEAUS: dict[str, tuple[list[float], list[list[float]]]] = {
    "heun": ([1.0, 1.0], [[1.0], [0.5, 0.5]]),
    "midpoint": ([0.5, 1.0], [[0.5], [0.0, 1.0]]),
    "kutta": ([0.5, 1.0, 1.0], [[0.5], [-1.0, 2.0], [1 / 6, 4 / 6, 1 / 6]]),
    "3/8": (
        [THIRD, 2 * THIRD, 1.0, 1.0],
        [[THIRD], [-THIRD, 1.0], [1.0, -1.0, 1.0], [1 / 8, 3 / 8, 3 / 8, 1 / 8]],
    ),
}


@pytest.mark.parametrize("process", registry.component_names("sde"))
@pytest.mark.parametrize("name", TABLEAUS)
def test_tableau_and_formula_agree(name: str, process: str) -> None:
    """The weights of the D's take the same step as the method written out in y, r and the velocity."""
    sde, (nodes, tableau) = registry.build("sde", process), TABLEAUS[name]
    denoise, flow = MIXTURE.denoiser(sde), FlowCoordinates(sde)

    class Method(RungeKutta):
        def stages(self, sde: SDE, t: Tensor, s: Tensor) -> list[Stage]:
            r_t, h = flow.r(t), flow.r(s) - flow.r(t)
            return tableau_stages(flow, t, [s if c == 1 else flow.time(r_t + c * h) for c in nodes], tableau)

    t, s = sde.time(torch.tensor([0.9, 0.5], dtype=torch.float64))
    x = MIXTURE.sample(4, 3, sde, t)
    y, h = x / flow.scale(t), flow.r(s) - flow.r(t)
    slopes, y_j = [flow.velocity(x, denoise(x, t), t)], y
    for c, row in zip(nodes, tableau, strict=True):
        y_j = y + h * sum(a * v for a, v in zip(row, slopes, strict=True))
        u = s if c == 1 else flow.time(flow.r(t) + c * h)
        x_j = flow.scale(u) * y_j
        slopes.append(flow.velocity(x_j, denoise(x_j, u), u))
    step = Method().step(sde, denoise, x, t, s, None)  # type: ignore[arg-type]
    assert torch.allclose(step, flow.scale(s) * y_j, rtol=1e-10, atol=1e-10)
