"""`auto`: more accurate than the other samplers on mixtures that it was not tuned on, and finite on every process."""

import math

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.processes import EDM, SDE, VP, RectifiedFlow, as_time
from sdekit.sampling import auto as auto_grid, karras, sample
from sdekit_plugins.samplers.auto import Auto, first_call

PROCESSES = {name: registry.build("sde", name) for name in registry.component_names("sde")}


def star() -> GaussianMixture:
    """Seven narrow components of unequal weight on a spiral, d = 2."""
    angle = torch.arange(7, dtype=torch.float64)
    means = (0.4 + 0.2 * angle)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return GaussianMixture(means, 0.08 + 0.02 * angle, angle + 1)


def cloud() -> GaussianMixture:
    """Five components in d = 12 whose standard deviations differ by a factor of ten between the axes."""
    g = torch.Generator().manual_seed(8)
    means = 0.8 * torch.randn(5, 12, generator=g, dtype=torch.float64)
    return GaussianMixture(means, 0.08 * 10 ** torch.rand(5, 12, generator=g, dtype=torch.float64))


MIXTURES = {"star": star(), "cloud": cloud()}


def rmse(mixture: GaussianMixture, sde: SDE, solver: str, nfe: int, x: Tensor, exact: Tensor) -> float:
    """Error of x_0 from the starts x, root mean square over coordinates."""
    drawn = sample(sde, mixture.denoiser(sde), solver, shape=mixture.shape, x=x, nfe=nfe, dtype=torch.float64)
    assert drawn.nfe <= nfe
    return float((drawn.x - exact).square().mean().sqrt())


@pytest.mark.parametrize("sde", [VP(), EDM(), RectifiedFlow()], ids=lambda sde: type(sde).__name__)
@pytest.mark.parametrize("name", MIXTURES)
def test_beats_the_others(name: str, sde: SDE) -> None:
    """At 6 to 100 calls its error is at most 0.7 of the best of four others, and half of it in the mean."""
    mixture = MIXTURES[name]
    x = mixture.sample(200, seed=1, sde=sde, t=sde.t_max)
    tight = registry.build("sampler", "ode", rtol=1e-8, atol=1e-8, error_norm="batch")
    exact = sample(sde, mixture.denoiser(sde), tight, shape=mixture.shape, x=x, dtype=torch.float64).x
    ratios = []
    for nfe in (6, 10, 20, 100):
        others = [rmse(mixture, sde, s, nfe, x, exact) for s in ("ddim", "heun", "dpmpp-2m", "unipc")]
        ratios.append(rmse(mixture, sde, "auto", nfe, x, exact) / min(others))
    assert max(ratios) < 0.7 and math.prod(ratios) < 0.5**4, ratios


@pytest.mark.parametrize("process", PROCESSES)
def test_finite_from_1_to_1000_steps(process: str) -> None:
    """On every process the samples of N(1, 0.5^2) keep within its bounds, in float32."""
    sde, mixture = PROCESSES[process], GaussianMixture(torch.ones(1, 2), 0.5)
    for steps in (1, 2, 3, 4, 7, 15, 1000):
        drawn = sample(sde, mixture.denoiser(sde), "auto", shape=(2,), n=16, steps=steps)
        assert drawn.nfe == steps and drawn.times.min() >= sde.t_min
        assert (drawn.x - 1).abs().max() < 2.5, steps
        assert steps < 4 or drawn.x.std() > 0.3, steps


@pytest.mark.parametrize("process", PROCESSES)
def test_exact_where_the_data_are_one_point(process: str) -> None:
    """With a constant denoiser every x on the way is (sigma_s / sigma_t) x_t + alpha_s (1 - rho_s / rho_t) x_0."""
    sde, called = PROCESSES[process], list[float]()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        called.append(float(t))
        return torch.full_like(x, 0.7)

    times = auto_grid(sde, 9)
    t, x = times[0], torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path = list(Auto().trajectory(sde, denoise, x, times, noise=None))  # type: ignore[arg-type]
    for s, x_s in zip(times[1:], path, strict=True):
        keep, give = sde.sigma(s) / sde.sigma(t), sde.alpha(s) - sde.alpha(t) * sde.sigma(s) / sde.sigma(t)
        torch.testing.assert_close(x_s, keep * x + give * 0.7, rtol=1e-9, atol=1e-9)
    assert len(called) == 9 and sde.t_max > called[0] > times[1] and called[1:] == times[1:-1].tolist()


def test_the_first_call_is_at_the_start_where_that_is_near() -> None:
    """Steps that are even in log rho begin at times[0]; the grid `auto` leaves a gap, of which it skips the most."""
    sde = VP()
    rho = torch.logspace(2, -2, 9, dtype=torch.float64)
    times = sde.time(rho)
    torch.testing.assert_close(first_call(sde, times), times[0])
    assert first_call(sde, karras(sde, 10)) == sde.t_max
    assert 8 < sde.rho(first_call(sde, auto_grid(sde, 4))) < 30


@pytest.mark.parametrize(("calls", "points"), [(14, 4), (15, 5), (33, 5), (34, 6), (200, 6)])
def test_more_calls_take_more_points(calls: int, points: int) -> None:
    """By default a polynomial goes through more values of D if there are more calls; the number is an option."""
    sde = VP()
    assert Auto().coefficients(sde, auto_grid(sde, calls - 1)).weights.shape == (calls - 1, points)
    assert Auto(points=3).coefficients(sde, auto_grid(sde, calls - 1)).weights.shape == (calls - 1, 3)


def test_grid_ends() -> None:
    """The grid runs from 2.5 N^1.2 to 0.15 / N^1.6 in units of data_std, within the noise levels of the process."""
    sde = EDM()
    assert sde.rho(auto_grid(sde, 9))[-1] == pytest.approx(0.15 / 10**1.6)
    assert sde.rho(auto_grid(sde, 9, data_std=2.0))[-1] == pytest.approx(0.3 / 10**1.6)
    assert sde.rho(auto_grid(sde, 99, data_std=0.2))[-1] == pytest.approx(0.002)
    flow = RectifiedFlow()
    assert math.log(flow.rho(auto_grid(flow, 99))[1]) == pytest.approx(math.log(2.5 * 100**1.2), rel=0.05)
    narrow = EDM(sigma_min=5.0, sigma_max=6.0)
    assert (auto_grid(narrow, 20).diff() < 0).all() and auto_grid(narrow, 20)[-1] >= 5 * (1 - 1e-12)
    assert float(as_time(VP().t_max)) == auto_grid(VP(), 0)


def test_steps_of_the_grid_are_shortest_in_the_middle() -> None:
    """Steps in log rho between 0.1 and N / 4 are up to three times as short as those at both ends."""
    sde = EDM(sigma_min=1e-4, sigma_max=1000.0)
    step = -sde.rho(auto_grid(sde, 99)).log().diff()[1:]
    shortest = int(step.argmin())
    assert (step[:shortest].diff() < 0).all() and (step[shortest:].diff() > 0).all()
    assert 1.5 < step[0] / step.min() < 3 and 2 < step[-1] / step.min() < 3


def test_isolated_points_with_fine_structure() -> None:
    """Twenty points with standard deviation 0.01 in 64 dimensions: the median error of 20 calls is below 0.0002."""
    sde, g = VP(), torch.Generator().manual_seed(1)
    mixture = GaussianMixture(torch.randn(20, 64, generator=g, dtype=torch.float64), 0.01)
    x = mixture.sample(50, seed=1, sde=sde, t=sde.t_max)
    tight = registry.build("sampler", "ode", rtol=1e-7, atol=1e-7, error_norm="batch")
    exact = sample(sde, mixture.denoiser(sde), tight, shape=(64,), x=x, dtype=torch.float64).x
    drawn = sample(sde, mixture.denoiser(sde), "auto", shape=(64,), x=x, nfe=20, dtype=torch.float64).x
    assert (drawn - exact).square().mean(1).sqrt().median() < 2e-4


@pytest.mark.parametrize("options", [{"points": 1}, {"points": 7}, {"data_std": 0.0}, {"data_std": math.inf}])
def test_bad_options(options: dict[str, float]) -> None:
    """Each is refused by name."""
    with pytest.raises(InputError, match=next(iter(options))):
        Auto(**options)  # type: ignore[arg-type]


def test_bad_scale_of_the_grid() -> None:
    """The grid checks it too."""
    with pytest.raises(InputError, match="data_std"):
        auto_grid(VP(), 5, data_std=-1.0)
