"""Guidance by embeddings and by several parts, against closed forms: x_0 ~ N(m, 1/4), and the condition is m."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdekit.distributions import GaussianMixture
from sdekit.models import Condition, Conditioning, ScoreModel, condition_parts, is_null
from sdekit.processes import VP, as_time, broadcast
from sdekit.sampling import sample

SDE, STD = VP(), 0.5
MEANS = torch.tensor([[-1.0, 0.5], [1.0, -0.5]], dtype=torch.float64)
PRIOR = GaussianMixture(MEANS, STD)
Y = MEANS[[0, 1, 1, 0]]
CONDITIONS = {
    "embedding": Y,
    "parts": Condition({"half": Y / 2, "rest": (Y / 2)[:, None], "mask": torch.ones(4, 1, dtype=torch.bool)}),
}
each_condition = pytest.mark.parametrize("y", CONDITIONS.values(), ids=CONDITIONS)


def given_mean(x: Tensor, t: Tensor, mean: Tensor) -> Tensor:
    """E[x_0 | x_t] of N(mean, STD^2)."""
    alpha, sigma = broadcast(SDE.alpha(t), x), broadcast(SDE.sigma(t), x)
    return mean + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * mean)


def denoise(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
    """The exact denoiser: y is the mean, or two parts that add up to it; null rows have the mixture of both means."""
    plain = PRIOR.denoiser(SDE)(x, t)
    if y is None:
        return plain
    parts = condition_parts(y)
    mean = parts["y"] if "y" in parts else parts["half"] + parts["rest"][:, 0]
    return torch.where(is_null(y)[:, None], plain, given_mean(x, t, mean.nan_to_num()))


@each_condition
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_cfg_is_its_formula(y: Any, scale: float) -> None:
    """D(x, null) + scale (D(x, y) - D(x, null)), in one call on the doubled batch."""
    from sdekit.registry import build

    calls: list[int] = []

    def counted(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
        calls.append(len(x))
        return denoise(x, t, y)

    x, t = torch.randn(4, 2, dtype=torch.float64), as_time(0.4)
    guided = build("guidance", "cfg", scale=scale)(SDE, counted)(x, t, y)
    plain = PRIOR.denoiser(SDE)(x, t)
    torch.testing.assert_close(guided, plain + scale * (given_mean(x, t, Y) - plain), rtol=1e-12, atol=1e-12)
    assert calls == [8 if scale == 2.5 else 4]


@each_condition
@pytest.mark.parametrize("guidance", [(), "cfg", ("cfg", "interval")], ids=["none", "cfg", "interval"])
def test_batches_do_not_matter(y: Any, guidance: Any) -> None:
    """Samples are the same in batches of one and of all, with a condition for each."""
    whole, single = (
        sample(SDE, denoise, "heun", shape=(2,), n=4, steps=6, y=y, guidance=guidance, batch_size=size, dtype=Y.dtype)
        for size in (4, 1)
    )
    torch.testing.assert_close(whole.x, single.x, rtol=1e-12, atol=1e-12)


@each_condition
def test_samples_have_the_mean_of_their_condition(y: Any) -> None:
    """The probability flow of N(m, s^2) takes x_T to m + s (x_T - alpha m) / sqrt(alpha^2 s^2 + sigma^2)."""
    start = torch.randn(4, 2, dtype=torch.float64)
    alpha, sigma = SDE.alpha(as_time(SDE.t_max)), SDE.sigma(as_time(SDE.t_max))
    exact = Y + STD * (start - alpha * Y) / (alpha**2 * STD**2 + sigma**2).sqrt()
    found = sample(SDE, denoise, "ode", shape=(2,), x=start, y=y, dtype=Y.dtype).x
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)


class ExactNetwork(nn.Module):
    """The same denoiser as a network of a model with the prediction "x0"; it takes no null rows."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Any) -> Tensor:
        assert not is_null(y).any()
        return denoise(x, SDE.time((4 * c_noise.double()).exp()), y)


def test_a_negative_condition_replaces_the_null_condition_of_the_model() -> None:
    """With `null_value` the second half of cfg's batch is conditioned on it, so that cfg moves away from it."""
    from sdekit.registry import build

    negative = MEANS[1:]
    model = ScoreModel(ExactNetwork(), SDE, "x0", condition=Conditioning(embedding=2, null_value=negative))
    x, t = torch.randn(4, 2, dtype=torch.float64), as_time(0.4)
    guided = build("guidance", "cfg", scale=3.0)(SDE, model)(x, t, Y)
    away = given_mean(x, t, negative)
    torch.testing.assert_close(guided, away + 3 * (given_mean(x, t, Y) - away), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model(x, t), away, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", ["eager", "auto", "channels-last", "bf16", "int8"])
def test_backends_run_a_network_with_a_condition_of_several_parts(backend: str) -> None:
    """The result is that of the network, to the backend's tolerance, without a warning."""
    from sdekit.networks import MLP
    from sdekit.registry import build

    torch.manual_seed(0)
    network = MLP((2,), 3, width=256, depth=1, sequence=4, augmentation=2).eval()
    nn.init.normal_(network.last.weight, std=0.1)
    y = Condition({"y": torch.tensor([0, -1, 2]), "sequence": torch.randn(3, 5, 4), "augmentation": torch.randn(3, 2)})
    model, x, t = ScoreModel(network, SDE), torch.randn(3, 2), as_time(0.4)
    with torch.no_grad():
        expected, found = model(x, t, y), model.run_with(build("backend", backend))(x, t, y)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1)
    assert model.backend is not None and not model.backend.fallback


def test_an_export_takes_no_condition_of_several_parts() -> None:
    """The message names a backend that does."""
    from sdekit.errors import InputError
    from sdekit.export import CachedExport
    from sdekit.networks import MLP

    exported = CachedExport(MLP((2,), augmentation=2), "torch", user="a test")
    with pytest.raises(InputError, match="takes no condition of several parts: use backend"):
        exported(torch.zeros(1, 2), torch.zeros(1), Condition({"augmentation": torch.zeros(1, 2)}))
