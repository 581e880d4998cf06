"""sdekit's samplers, called as k-diffusion and ComfyUI call samplers."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrations.k_diffusion import sampler, sigmas as grid_sigmas
from sdekit.processes import EDM, RectifiedFlow
from sdekit.registry import build, component_names
from sdekit.sampling import sample

ROOT = Path(__file__).parents[2]
FILE: dict[str, Any] = json.loads((ROOT / "tests/plugins/samplers/k_diffusion.json").read_text("utf-8"))
ADAPTIVE = ("ode", "adaptive-sde")
NAMES = [name for name in component_names("sampler") if name not in ADAPTIVE]
LISTS = {
    "karras": torch.linspace(14.6 ** (1 / 7), 0.03 ** (1 / 7), 8) ** 7,
    "exponential": torch.linspace(math.log(14.6), math.log(0.03), 8).exp(),
    "simple": torch.linspace(0.999, 0.02, 8).pow(3) * 14.6,
}


def points(rows: list[list[float]]) -> Iterator[Tensor]:
    """Yield the stored tensors, (2, 2) each."""
    return (torch.tensor(row, dtype=torch.float64).view(2, 2) for row in rows)


def stored_model(x: Tensor, sigma: Tensor, scale: float = 1.0) -> Tensor:
    """The denoiser of the stored problem."""
    assert sigma.shape == (2,)
    rho = float(sigma[0])
    return scale * (0.3 * torch.sin(2 * x.flip(1) + math.log(rho) / 4) + x / (1 + rho**2))


def gaussian(x: Tensor, sigma: Tensor, **extra_args: Any) -> Tensor:
    """The exact denoiser of standard normal data."""
    return x / (1 + sigma.view(-1, *[1] * (x.ndim - 1)) ** 2)


def with_zero(levels: Tensor) -> Tensor:
    return torch.cat([levels, torch.zeros(1)])


@pytest.mark.parametrize("name", sorted(set(FILE["trajectories"])))
def test_equals_k_diffusion(name: str) -> None:
    """The same model, sigmas and noise give every x of k-diffusion, and the same result."""
    stored, draws, states = FILE["trajectories"][name], points(FILE["draws"]), list[dict[str, Any]]()
    (start,) = points([FILE["start"]])
    sigmas = torch.tensor([*FILE["sigmas"], 0.0], dtype=torch.float64)
    run = sampler(name)
    x = run(
        stored_model,
        start,
        sigmas,
        extra_args={"scale": 1.0},
        callback=states.append,
        disable=True,
        noise_sampler=lambda t, s: next(draws),
    )
    assert [state["i"] for state in states] == list(range(12))
    assert [float(state["sigma"]) for state in states] == FILE["sigmas"]
    for state, expected in zip(states, [start, *points(stored["x"])], strict=True):
        torch.testing.assert_close(state["x"], expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(state["denoised"], stored_model(state["x"], state["sigma_hat"].expand(2)))
    if name != "lms":  # k-diffusion's lms extrapolates to sigma = 0; here the last step is the denoised x
        (expected,) = points([stored["result"]])
        torch.testing.assert_close(x, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("levels", LISTS.values(), ids=list(LISTS))
@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_runs_and_equals_the_own_loop(name: str, levels: Tensor) -> None:
    """On any list of sigmas, the result is the one of `sample` on the same times, with the same seeds."""
    x, seen = 14.6 * torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), list[int]()
    result = sampler(name)(
        gaussian, x, with_zero(levels), {"seed": 5}, callback=lambda state: seen.append(state["i"]), disable=True
    )
    times = levels.double()
    sde = EDM(sigma_min=float(times[-1]), sigma_max=float(times[0]))
    own = sample(
        sde, lambda x, t: x / (1 + float(t) ** 2), name, shape=(2,), x=x, seeds=[5, 6, 7], grid=times
    )  # fmt: skip
    torch.testing.assert_close(result, own.x, rtol=1e-5, atol=1e-5)
    assert seen == list(range(8))


@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_samplers_run(name: str) -> None:
    """An adaptive sampler chooses its own steps between the sigmas."""
    x, seen = 14.6 * torch.ones(2, 2), list[int]()
    result = sampler(name)(gaussian, x, with_zero(LISTS["karras"]), {"seed": 0}, lambda state: seen.append(state["i"]))
    assert result.abs().max() < 4 and seen == sorted(set(seen))


def test_a_flow_model_runs_on_the_rectified_flow() -> None:
    """A `CONST` model of ComfyUI has x = (1 - sigma) x_0 + sigma eps, also below several wrappers."""

    class CONST:
        pass

    class ModelSamplingFlux(CONST):
        pass

    inner = SimpleNamespace(model_sampling=ModelSamplingFlux(), inner_model=None)
    levels = torch.linspace(1.0, 0.02, 6)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = 1 - t.view(-1, 1), t.view(-1, 1)
        return (alpha / (alpha**2 + sigma**2)).to(x) * x

    class Model:
        inner_model = SimpleNamespace(inner_model=inner)

        def __call__(self, x: Tensor, sigma: Tensor, seed: int) -> Tensor:
            return denoise(x, sigma)

    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    for name in ("auto", "heun", "euler-ancestral", "dpmpp-2m-sde"):
        sde = RectifiedFlow(t_min=float(levels[-1]), t_max=1.0)
        own = sample(sde, denoise, name, shape=(3,), x=x, seeds=[1, 2], grid=levels.double())
        for run in (sampler(name), sampler(name, process="flow")):
            torch.testing.assert_close(run(Model(), x, with_zero(levels), {"seed": 1}), own.x)
    with pytest.raises(InputError, match="between 0 and 1"):
        sampler("auto")(Model(), x, with_zero(14.6 * levels), {"seed": 1})


def test_sigmas_may_end_above_zero() -> None:
    """Then the result is x at the last level, from which a second call continues."""
    x, levels = 14.6 * torch.ones(1, 4), with_zero(LISTS["karras"])
    whole = sampler("heun")(gaussian, x, levels)
    half = sampler("heun")(gaussian, x, levels[:5])
    torch.testing.assert_close(sampler("heun")(gaussian, half, levels[4:]), whole)
    assert sampler("heun")(gaussian, x, levels[:1]) is x


def test_repeated_sigmas_make_no_step() -> None:
    """Schedules that are read from a table may repeat a level."""
    levels, seen = with_zero(LISTS["karras"]), list[int]()
    repeated = torch.cat([levels[:3], levels[2:]])
    x = 14.6 * torch.ones(1, 4)
    result = sampler("dpmpp-2m")(gaussian, x, repeated, callback=lambda state: seen.append(state["i"]))
    torch.testing.assert_close(result, sampler("dpmpp-2m")(gaussian, x, levels))
    assert seen == [0, 1, 2, 4, 5, 6, 7, 8]


def test_noise() -> None:
    """Sample i has seed + i; without a seed, torch's global generator decides; large seeds of ComfyUI work."""
    x, levels, run = 14.6 * torch.ones(3, 4), with_zero(LISTS["karras"]), sampler("euler-ancestral")
    one, two = run(gaussian, x, levels, {"seed": 7}), run(gaussian, x[:2], levels, {"seed": 8})
    torch.testing.assert_close(one[1:], two)
    torch.testing.assert_close(run(gaussian, x, levels, {}, seeds=[7, 8, 9]), one)
    assert run(gaussian, x, levels, {"seed": 2**64 - 1}).isfinite().all()
    torch.manual_seed(0)
    first = run(gaussian, x, levels)
    assert not torch.equal(first, run(gaussian, x, levels))
    torch.manual_seed(0)
    assert torch.equal(first, run(gaussian, x, levels))
    brownian = sampler("dpmpp-2m-sde", noise="brownian")
    assert not torch.equal(brownian(gaussian, x, levels, {"seed": 7}), sampler("dpmpp-2m-sde")(gaussian, x, levels))


def test_an_error_of_the_callback_stops_the_run() -> None:
    """Interfaces interrupt a run by raising an exception in the callback."""

    def interrupt(state: dict[str, Any]) -> None:
        if state["i"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler("auto")(gaussian, torch.ones(1, 2), with_zero(LISTS["karras"]), callback=interrupt)


@pytest.mark.parametrize("bad", [[1.0, 2.0, 0.0], [float("nan"), 1.0], [1.0, -1.0], [[1.0, 0.0]]])
def test_bad_sigmas_are_refused(bad: Any) -> None:
    """A list that does not decrease is refused with the reason."""
    with pytest.raises(InputError, match="sigmas must"):
        sampler("auto")(gaussian, torch.ones(1, 2), torch.tensor(bad))


def test_names_and_options_are_checked_at_once() -> None:
    """Mistakes are reported when the function is made, not when it runs."""
    for arguments, options in ((("ddmi",), {}), (("ddim",), {"etta": 1}), (("auto",), {"process": "vp"})):
        with pytest.raises(InputError):
            sampler(*arguments, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("grid", ["auto", "karras", "log-snr"])
def test_sigmas_of_a_grid(grid: str) -> None:
    """`sigmas` gives n levels of the grid and 0, from sigma_max down."""
    levels = grid_sigmas(9, 0.03, 14.6, grid)
    assert len(levels) == 10 and levels[-1] == 0 and levels[0] == torch.tensor(14.6)
    sde = EDM(sigma_min=0.03, sigma_max=14.6)
    torch.testing.assert_close(levels[:-1], build("grid", grid)(sde, 8).float())
    assert grid_sigmas(1, 0.03, 14.6, grid).tolist() == pytest.approx([14.6, 0])


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The node in examples/, imported with a stub of ComfyUI that calls samplers in the same way."""

    class KSAMPLER:
        def __init__(self, sampler_function: Callable[..., Tensor], extra_options: dict[str, Any] | None = None):
            self.sampler_function, self.extra_options = sampler_function, extra_options or {}

        def sample(
            self, model: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor
        ) -> Tensor:
            total = len(sigmas) - 1

            def k_callback(state: dict[str, Any]) -> None:
                callback(state["i"], state["denoised"], state["x"], total)

            return self.sampler_function(
                model, noise, sigmas, extra_args=extra_args, callback=k_callback, disable=True, **self.extra_options
            )

    comfy, samplers = ModuleType("comfy"), ModuleType("comfy.samplers")
    comfy.samplers, samplers.KSAMPLER = samplers, KSAMPLER  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comfy", comfy)
    monkeypatch.setitem(sys.modules, "comfy.samplers", samplers)
    spec = spec_from_file_location("comfyui_node", ROOT / "examples/comfyui_node/__init__.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_comfyui_node(node: ModuleType) -> None:
    """The node offers every sampler, and its output samples as ComfyUI's own do."""
    (kind,) = node.NODE_CLASS_MAPPINGS.values()
    names, default = kind.INPUT_TYPES()["required"]["name"]
    assert default["default"] == "auto" and set(names) == set(component_names("sampler"))
    noise, sigmas = 14.6 * torch.ones(1, 4, 8, 8), with_zero(LISTS["karras"])
    for name in ("auto", "heun", "dpmpp-2m-sde"):
        seen = list[tuple[int, int]]()
        (chosen,) = getattr(kind(), kind.FUNCTION)(name=name)
        extra = {"model_options": {}, "seed": 2**40}
        result = chosen.sample(
            gaussian, sigmas, extra, lambda i, denoised, x, total, seen=seen: seen.append((i, total)), noise
        )
        assert result.shape == noise.shape and seen == [(i, 8) for i in range(8)]
