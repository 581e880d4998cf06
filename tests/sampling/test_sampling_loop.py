"""The sampling loop with every registered sampler: its counts, results and errors."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.models import Condition
from sdekit.processes import EDM, SDE, VP, Denoiser, RectifiedFlow, as_time, broadcast
from sdekit.sampling import Noise, Sampler, Samples, SeedNoise, karras, sample

SAMPLERS = registry.component_names("sampler")
COUNTED = [name for name in SAMPLERS if registry.build("sampler", name).calls_per_step is not None]
each_sampler = pytest.mark.parametrize("name", SAMPLERS)
each_counted = pytest.mark.parametrize("name", COUNTED)
MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4], [0.2, 1.0]]), 0.4)


@dataclass
class Counting:
    """A denoiser that records the number and the sizes of its calls."""

    denoise: Denoiser
    calls: int = 0

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        self.calls += 1
        return self.denoise(x, t, y)


@dataclass(frozen=True, kw_only=True)
class Keep(Sampler):
    """Where it stands, it stays."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return x


@each_counted
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_calls_are_as_declared(name: str, steps: int) -> None:
    """steps = N makes (N - 1) calls_per_step + 1 calls, and the result reports this number."""
    sde, sampler = VP(), registry.build("sampler", name)
    counting = Counting(MIXTURE.denoiser(sde))
    result = sample(sde, counting, sampler, shape=(2,), n=3, steps=steps)
    assert result.nfe == counting.calls == (steps - 1) * sampler.calls_per_step + 1
    assert len(result.times) == steps


@each_counted
@pytest.mark.parametrize("nfe", [1, 2, 3, 4, 5, 10, 11])
def test_nfe_is_a_budget(name: str, nfe: int) -> None:
    """nfe = N makes at most N calls, and one more step would exceed N; one step of several calls must fit."""
    sde, sampler = VP(), registry.build("sampler", name)
    counting = Counting(MIXTURE.denoiser(sde))
    if nfe <= sampler.calls_per_step > 1:
        with pytest.raises(InputError, match=f"nfe must be at least {sampler.calls_per_step + 1} .*one step"):
            sample(sde, counting, sampler, shape=(2,), n=2, nfe=nfe)
        return
    result = sample(sde, counting, sampler, shape=(2,), n=2, nfe=nfe)
    assert result.nfe == counting.calls <= nfe < counting.calls + sampler.calls_per_step


@each_sampler
def test_defaults(name: str) -> None:
    """Without steps a sampler takes its own number and grid; the calls reported are those of one batch."""
    sde, sampler = VP(), registry.build("sampler", name)
    counting = Counting(MIXTURE.denoiser(sde))
    result = sample(sde, counting, name, shape=(2,), n=2)
    assert result.nfe == counting.calls and len(result.times) == sampler.default_steps
    grid = registry.build("grid", sampler.default_grid)
    assert torch.equal(result.times, grid(sde, sampler.default_steps - 1))
    parts = Counting(MIXTURE.denoiser(sde))
    by_one = sample(sde, parts, name, shape=(2,), n=2, batch_size=1)
    assert by_one.nfe <= parts.calls <= 2 * by_one.nfe


@each_sampler
def test_one_step_is_one_denoising(name: str) -> None:
    """steps = 1 is D(x, t_max)."""
    for sde in (VP(), RectifiedFlow()):
        result = sample(sde, MIXTURE.denoiser(sde), name, shape=(2,), seeds=[4, 5], steps=1, trajectory=True)
        first = sde.prior(SeedNoise([4, 5], (2,))())
        assert torch.equal(result.x, MIXTURE.denoiser(sde)(first, as_time(sde.t_max)))
        assert result.nfe == 1 and result.times.tolist() == [sde.t_max]
        assert result.trajectory is not None and torch.equal(result.trajectory, torch.stack([first, result.x]))


@each_sampler
@pytest.mark.parametrize("shape", [(1,), (2,), (1, 2, 3)])
def test_trajectory(name: str, shape: tuple[int, ...]) -> None:
    """The trajectory is (steps + 1, n, *shape): x at each time, then x_0; asking for it changes nothing."""
    sde = RectifiedFlow()

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        alpha, sigma = broadcast(1 - t, x), broadcast(t, x)
        return x * (alpha / (alpha**2 + sigma**2))

    arguments: dict[str, Any] = {"shape": shape, "n": 3, "steps": 5}
    result = sample(sde, denoise, name, trajectory=True, batch_size=2, **arguments)
    assert result.x.shape == (3, *shape) and result.seeds == (0, 1, 2)
    path = result.trajectory
    assert path is not None and path.shape == (6, 3, *shape)
    assert torch.equal(path[0], SeedNoise(range(3), shape)())
    assert torch.equal(path[-1], result.x) and torch.equal(path[-1], denoise(path[-2], result.times[-1]))
    plain = sample(sde, denoise, name, batch_size=2, **arguments)
    assert plain.trajectory is None and torch.equal(plain.x, result.x)


@each_sampler
def test_inputs_are_left_alone(name: str) -> None:
    """x, y and times are not changed; the result has no gradient and shares no memory with x."""
    sde = VP()
    gain = torch.ones((), requires_grad=True)
    x, y, times = torch.randn(3, 2), torch.tensor([0, 2, 1]), torch.tensor([1.0, 0.6, 0.3, 1e-5], dtype=torch.float64)
    before = [v.clone() for v in (x, y, times)]
    exact = MIXTURE.denoiser(sde)
    result = sample(
        sde, lambda x, t, y=None: gain * exact(x, t, y), name, shape=(2,), x=x, y=y, grid=times, trajectory=True
    )
    assert all(torch.equal(v, w) for v, w in zip((x, y, times), before, strict=True))
    assert not result.x.requires_grad and result.trajectory is not None and not result.trajectory.requires_grad
    assert torch.equal(result.times, times) and torch.is_grad_enabled()
    result.trajectory.zero_()
    assert torch.equal(x, before[0])


@each_sampler
def test_condition_goes_to_its_sample(name: str) -> None:
    """y is cut with the batch: sample i sees y[i], and sampling with y = k alone gives the same."""
    sde, y = VP(), torch.tensor([0, 1, 2, 1, 0])
    arguments: dict[str, Any] = {"shape": (2,), "dtype": torch.float64, "steps": 20}
    whole = sample(sde, MIXTURE.denoiser(sde), name, seeds=range(5), y=y, batch_size=2, **arguments)
    for i in range(5):
        alone = sample(sde, MIXTURE.denoiser(sde), name, seeds=[i], y=y[i : i + 1], **arguments)
        assert torch.allclose(whole.x[i], alone.x[0], rtol=0, atol=1e-9)
    assert not torch.allclose(whole.x, sample(sde, MIXTURE.denoiser(sde), name, seeds=range(5), **arguments).x)


def test_a_condition_of_several_parts_goes_to_its_sample() -> None:
    """A `Condition` is cut with the batch as a tensor is, and must have one row per sample."""
    sde, exact = VP(), MIXTURE.denoiser(VP())

    def denoise(x: Tensor, t: Tensor, y: Condition) -> Tensor:
        return exact(x, t, y.parts["label"])

    y = torch.tensor([0, 1, 2, 1, 0])
    arguments: dict[str, Any] = {"shape": (2,), "n": 5, "batch_size": 2, "steps": 5}
    whole = sample(sde, denoise, "ddim", y=Condition({"label": y}), **arguments)
    assert torch.equal(whole.x, sample(sde, exact, "ddim", y=y, **arguments).x)
    with pytest.raises(InputError, match="y has shape \\(4,.*expected one condition per sample, 5 in all"):
        sample(sde, denoise, "ddim", y=Condition({"label": y[:4]}), **arguments)


@each_sampler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype(name: str, dtype: torch.dtype) -> None:
    """The denoiser receives and returns the requested dtype; times are float64 on the CPU."""
    sde, exact = RectifiedFlow(), MIXTURE.denoiser(RectifiedFlow())

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        assert x.dtype == dtype and t.shape in ((), (len(x),))
        return exact(x, t, y)

    result = sample(sde, denoise, name, shape=(2,), n=2, steps=4, dtype=dtype)
    assert result.x.dtype == dtype and result.times.dtype == torch.float64


def test_explicit_grid() -> None:
    """grid may be the times, a function, or a name; from x at a later time too."""
    sde, denoise = VP(), MIXTURE.denoiser(VP())
    times = karras(sde, 6, p=3.0)
    by_times, by_function, by_bound = (
        sample(sde, denoise, "ddim", shape=(2,), n=2, grid=grid, steps=steps)
        for grid, steps in (
            (times, None),
            (lambda sde, n: karras(sde, n, p=3.0), 7),
            (registry.build("grid", "karras", p=3.0), 7),
        )
    )
    assert torch.equal(by_times.x, by_function.x) and torch.equal(by_times.x, by_bound.x)
    assert by_times.nfe == 7 and torch.equal(by_times.times, times)
    named = sample(sde, denoise, "ddim", shape=(2,), n=2, grid="uniform", steps=7)
    assert not torch.allclose(named.x, by_times.x)
    later = sample(sde, denoise, "ddim", shape=(2,), x=torch.zeros(1, 2), grid=torch.tensor([0.5, 0.2]))
    assert later.times.tolist() == torch.tensor([0.5, 0.2]).double().tolist()


def test_start_from_x() -> None:
    """x at t_max replaces the prior's; seeds still say which noise follows."""
    sde, denoise = EDM(), MIXTURE.denoiser(EDM())
    x = sde.prior(SeedNoise([8, 9], (2,))())
    given = sample(sde, denoise, "ddpm", shape=(2,), x=x, seeds=[8, 9], steps=5)
    assert torch.equal(given.x, sample(sde, denoise, "ddpm", shape=(2,), seeds=[8, 9], steps=5).x)
    assert sample(sde, denoise, "ddpm", shape=(2,), x=x, steps=5).seeds == (0, 1)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"steps": 0}, "steps must be at least 1, got 0"),
    ({"steps": -3}, "steps must be at least 1, got -3"),
    ({"nfe": 0}, "nfe must be at least 1 for DDIM (the final denoising), got 0"),
    ({"steps": 3, "nfe": 3}, "steps=3 and nfe=3 both given"),
    ({"sampler": "ode", "nfe": 5}, "ODE has no fixed number of calls per step, so its run cannot be limited to nfe=5"),
    ({"nfe": 2, "sampler": "heun"}, "at least 3 for Heun (one step and the final denoising), got 2"),
    ({"noise": "brownian"}, "DDIM draws no noise: leave out noise='brownian'"),
    ({"grid": torch.tensor([1.0, 0.5, 0.5])}, "decreasing times"),
    ({"grid": torch.tensor([0.1, 0.5])}, "decreasing times"),
    ({"grid": torch.tensor([])}, "decreasing times, got []"),
    ({"grid": torch.ones(2, 2)}, "one row"),
    ({"grid": torch.tensor([1.0, math.nan])}, "decreasing times"),
    ({"grid": torch.tensor([math.nan])}, "decreasing times"),
    ({"grid": torch.tensor([1.5, 0.5])}, "runs from 1.5 to 0.5, outside the process's [1e-05, 1]"),
    ({"grid": torch.tensor([1.0, 0.0])}, "runs from 1 to 0, outside"),
    ({"grid": torch.tensor([0.5, 0.1])}, "starts at t = 0.5, below t_max = 1"),
    ({"grid": torch.tensor([1.0, 0.5]), "steps": 2}, "leave steps and nfe out"),
    ({"grid": lambda sde, n: torch.linspace(0.1, 1.0, n + 1), "steps": 3}, "decreasing times"),
    ({"x": torch.zeros(2, 3)}, "x has shape (2, 3), expected (2, 2)"),
    ({"x": torch.zeros(3, 2)}, "x has shape (3, 2), expected (2, 2)"),
    ({"x": torch.zeros(2, 2, 5)}, "x has shape (2, 2, 5), expected (2, 2)"),
    ({"y": torch.zeros(3)}, "y has shape (3,), expected one condition per sample, 2 in all"),
    ({"y": torch.tensor(1)}, "y has shape ()"),
    ({"n": 0}, "say how many samples"),
    ({"n": None}, "say how many samples (n, at least 1) or which (seeds), got n=None"),
    ({"seeds": [1, 2, 3]}, "n=2 but 3 seeds"),
    ({"n": None, "seeds": []}, "seeds is empty"),
    ({"n": None, "seeds": [0, 2**32]}, "seeds must be between 0 and 2^32 - 1, got 4294967296"),
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"sampler": "ddmi"}, "no sampler 'ddmi'; did you mean 'ddim'? Installed: "),
    ({"steps": 2.5}, "steps must be a whole number, got 2.5"),
    ({"nfe": "3"}, "nfe must be a whole number, got '3'"),
    ({"grid": [1.0, 0.5]}, "grid must be a name, a function of (sde, n) or a tensor of times, got [1.0, 0.5]"),
    ({"y": [0, 1]}, "y must be a tensor (n, ...) or a Condition, got list"),
    ({"grid": "karas"}, "no grid 'karas'; did you mean 'karras'? Installed: "),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments(change: dict[str, Any], message: str) -> None:
    """Invalid arguments raise an error before the denoiser is called, with the value and what was expected."""

    def never(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        raise AssertionError("called")

    arguments: dict[str, Any] = {"sampler": "ddim", "shape": (2,), "n": 2, **change}
    with pytest.raises(InputError, match=re.escape(message)):
        sample(VP(), never, arguments.pop("sampler"), **arguments)


@pytest.mark.parametrize(
    ("denoise", "message"),
    [
        (
            lambda x, t: x[:, :1],
            "call 1 of the denoiser, at t = 1.0: got (4, 1) torch.float32, expected (4, 2) torch.float32",
        ),
        (lambda x, t: x.double(), "got (4, 2) torch.float64, expected (4, 2) torch.float32"),
    ],
    ids=["shape", "dtype"],
)
def test_wrong_answers_of_the_denoiser(denoise: Callable[..., Tensor], message: str) -> None:
    """A denoiser that answers in another shape or dtype is an error that names the call."""
    with pytest.raises(SdekitError, match=re.escape(message)):
        sample(VP(), denoise, "ddim", shape=(2,), n=4, steps=3)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([2], "call 1 of the denoiser, at t = 1: its result is not finite for 1 of 4 samples (the first has seed 13)"),
        ([1, 3], "not finite for 2 of 4 samples (the first has seed 12)"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_is_an_error(bad: list[int], message: str, value: float) -> None:
    """A denoiser that ends in NaN or infinity is reported: the call, the time, how many samples and the first seed."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return x.index_fill(0, torch.tensor(bad), value)

    with pytest.raises(SdekitError, match=re.escape(message)):
        sample(VP(), denoise, "ddim", shape=(2,), seeds=[11, 12, 13, 14], steps=4)


def test_a_solver_that_diverges_is_an_error() -> None:
    """If the denoiser's results were finite and x is not, the error blames the solver."""

    @dataclass(frozen=True, kw_only=True)
    class Diverging(Sampler):
        def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
            return x / 0 + denoise(x, t)

    with pytest.raises(SdekitError, match="call 2 .* x is not finite for 2 of 2 .*seed 5.: the solver diverged"):
        sample(VP(), lambda x, t: 0 * x, Diverging(), shape=(2,), seeds=[5, 6], steps=3)


def test_a_denoiser_with_a_memory_is_an_error() -> None:
    """NaN in the first run and none in the second one: the denoiser depends on something else."""
    calls = iter([0.0, math.nan])
    with pytest.raises(SdekitError, match="depends on something other than x, t and y"):
        sample(VP(), lambda x, t: 0 * x + next(calls, 0.0), "ddim", shape=(2,), n=1, steps=2)


@each_sampler
def test_not_finite_is_an_error_of_every_sampler(name: str) -> None:
    """A NaN that appears on the way ends in SdekitError, never in samples and never in an endless loop."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return torch.where((t < 0.5).to(x.device).expand(len(x))[:, None], math.nan, 0 * x)

    with pytest.raises(SdekitError, match="not finite|cannot meet"):
        sample(VP(), denoise, name, shape=(2,), n=2, steps=6)


def test_a_sampler_without_a_step() -> None:
    """A sampler that defines neither step nor trajectory raises an error with its name."""

    @dataclass(frozen=True, kw_only=True)
    class Empty(Sampler):
        pass

    with pytest.raises(NotImplementedError, match="Empty defines neither step nor trajectory"):
        sample(VP(), MIXTURE.denoiser(VP()), Empty(), shape=(2,), n=1, steps=2)


def test_a_sampler_is_three_lines() -> None:
    """A class with a step is a sampler: the loop passes t > s, 0-dim and float64, and denoises at the last time."""
    result = sample(
        VP(), lambda x, t: x * 0 + t, Keep(), shape=(2,), n=1, steps=4, trajectory=True, dtype=torch.float64
    )
    assert isinstance(result, Samples) and result.nfe == 1 and result.trajectory is not None
    assert torch.equal(result.trajectory[1], result.trajectory[0]) and (result.x == 1e-5).all()
