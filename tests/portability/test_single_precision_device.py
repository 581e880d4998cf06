"""Devices without float64, such as Apple's MPS: no time and no tensor in float64 is sent to them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.inverse import Problem, build_restorer, estimate_noise, restore
from sdekit.inverse.operators import Average
from sdekit.likelihood import compare_by_bound, denoising_statistics
from sdekit.models import ScoreModel
from sdekit.processes import EDM, VP, best_float
from sdekit.registry import build, component_names
from sdekit.sampling import sample
from sdekit.training import plan
from sdekit.training.objectives.denoising import Denoising

from .single_precision_device import single_precision_device

SAMPLERS = sorted(component_names("sampler"))


@pytest.fixture
def device() -> Iterator[torch.device]:
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with single_precision_device() as device:
            yield device
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
    """Denoiser of standard normal data under VP, in the dtype and on the device of x."""
    assert t.device.type == "cpu" or t.dtype == torch.float32
    return VP().alpha(t).to(x).view(-1, 1) * x if t.ndim else VP().alpha(t) * x


def test_the_device_is_strict(device: torch.device) -> None:
    """The simulated device computes in float32, refuses float64 and refuses tensors of the CPU."""
    x = torch.arange(3.0).to(device)
    assert (x + 1).device == device and (x + 1).cpu().tolist() == [1, 2, 3]
    assert best_float(device) == torch.float32 and best_float(torch.device("cpu")) == torch.float64
    for action in (x.double, lambda: x.to("cpu", torch.float64), lambda: torch.zeros(2).double().to(device)):
        with pytest.raises(TypeError, match="does not support float64"):
            action()
    with pytest.raises(RuntimeError, match="tensors on the CPU and on the device"):
        x + torch.arange(3.0)


@pytest.mark.parametrize("name", [*SAMPLERS, "ode:bosh3", "ode:rk4", "ode:euler"])
def test_samplers(device: torch.device, name: str) -> None:
    """Every sampler draws the same samples as on the CPU, to the precision of float32."""
    sampler, _, method = name.partition(":")
    adaptive = name in ("ode", "ode:bosh3", "adaptive-sde")
    options = ({"method": method} if method else {}) | ({"rtol": 0.5, "atol": 0.5} if adaptive else {})
    sde = (
        EDM(sigma_min=1.0, sigma_max=1.2) if name == "adaptive-sde" else VP()
    )  # it takes many steps over a large range of noise levels
    budget = {} if adaptive else {"steps": 4}
    drawn = [
        sample(sde, denoise, build("sampler", sampler, **options), shape=(2,), n=2, device=place, **budget).x.cpu()
        for place in (device, torch.device("cpu"))
    ]
    assert torch.allclose(drawn[0], drawn[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["dopri8", "explicit_adams"])
def test_methods_that_need_float64(device: torch.device, method: str) -> None:
    """Methods of torchdiffeq that compute in float64 on the device are refused with a remedy."""
    with pytest.raises(InputError, match="needs float64.*use method=dopri5"):
        sample(VP(), denoise, build("sampler", "ode", method=method), shape=(2,), n=2, steps=4, device=device)


@pytest.mark.parametrize("name", sorted(component_names("restorer")))
def test_restorers(device: torch.device, name: str) -> None:
    """Every method for inverse problems runs on the device."""
    problem = Problem(Average((4,), 2), torch.zeros(2, dtype=torch.float64), 0.1)
    x = restore(VP(), denoise, problem, name, n=2, steps=4, device=device).x
    assert x.device == device and bool(x.cpu().isfinite().all())
    assert build_restorer(name, problem) is not None


@pytest.mark.parametrize("network", ["mlp", "mixer", "unet"])
def test_networks_and_loss(device: torch.device, network: str) -> None:
    """A model denoises and computes its loss on the device, also if the time is a tensor of the device."""
    shape = (4,) if network == "mlp" else (1, 8, 8)
    model = ScoreModel(build("network", network, shape, 3, width=8), VP(), "edm").to(device)
    x, y = torch.zeros(2, *shape).to(device), torch.tensor([0, 1]).to(device)
    for t in (torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.5).to(device), 0.5):
        assert model(x, t, y).device == device
    assert model.loss(x, torch.tensor([0.5, 0.3], dtype=torch.float64), x, y).device == device


def test_training_objective(device: torch.device) -> None:
    """The times of a training step stay on the CPU, and its loss is computed on the device."""
    recipe, data = plan("moons", network="mlp", options={"train": {"steps": 1}, "network": {"width": 8}})
    objective = Denoising(recipe)
    model = objective.build().to(device)
    inputs = objective.inputs(data.batch(np.arange(64)), 0, slice(0, 64))
    assert objective.loss(model, inputs).device == device


def test_noise_and_mixtures(device: torch.device) -> None:
    """Noise of a measurement is estimated, and exact distributions on the CPU denoise tensors of the device."""
    model = ScoreModel(build("network", "mlp", (4,), 0, width=8), VP(), "edm").to(device)
    assert estimate_noise(model, Average((4,), 2), torch.zeros(2), device=device, rounds=1, n=2, steps=2) > 0
    mixture = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 2.0]]), 0.5)
    x, t = torch.tensor([[0.3, 0.2], [1.0, 1.0]]), torch.tensor(0.5, dtype=torch.float64)
    for exact in (mixture, mixture.full()):
        result = exact.denoiser(VP())(x.to(device), t)
        assert result.device == device and torch.allclose(result.cpu(), exact.denoiser(VP())(x, t))
    y = torch.tensor([0, 1])
    assert torch.allclose(mixture.log_prob(x.to(device), y=y.to(device)).cpu(), mixture.log_prob(x, y=y))


def test_comparisons_of_classes_and_denoising_statistics(device: torch.device) -> None:
    """Both give the results of the CPU, to the precision of float32."""
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

    def shifted(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return denoise(x, t) + 0.1 * y[:, None]

    classes = torch.arange(2)
    found, expected = (compare_by_bound(VP(), shifted, data, classes, rounds=2) for data in (x.to(device), x))
    assert torch.allclose(found.log_ratio, expected.log_ratio, atol=1e-3)
    here, there = (denoising_statistics(VP(), denoise, data, levels=2).values for data in (x.to(device), x))
    assert torch.allclose(here, there, atol=1e-4)
