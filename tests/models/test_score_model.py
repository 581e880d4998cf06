"""A network as a denoiser: five predictions, on every process."""

import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS, ScoreModel
from sdekit.processes import EDM, SDE, VE, VP, Cosine, RectifiedFlow, as_time
from sdekit.runs import TrainOptions
from sdekit.training import times

STD = 0.7
MIXTURE = GaussianMixture(torch.tensor([[-0.5, 0.6], [0.6, -0.4]]), 0.4)
PROCESSES = {name: registry.build("sde", name) for name in registry.component_names("sde")}
COMBINATIONS = [
    (name, prediction)
    for name, sde in PROCESSES.items()
    for prediction in PREDICTIONS
    if prediction != "eps" or sde.alpha(as_time(sde.t_max)) > 1e-6
]
each_combination = pytest.mark.parametrize(
    ("name", "prediction"), COMBINATIONS, ids=["-".join(c) for c in COMBINATIONS]
)

# The target of F in x_0, eps, alpha and sigma, as the papers define it.
TARGETS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "x0": lambda x0, eps, alpha, sigma: x0,
    "eps": lambda x0, eps, alpha, sigma: eps,
    "v": lambda x0, eps, alpha, sigma: (alpha * eps - sigma * x0) / (alpha**2 + sigma**2).sqrt(),
    "flow": lambda x0, eps, alpha, sigma: eps - x0,
    # Karras et al. 2022, Table 1, of x / alpha at noise rho = sigma / alpha, times alpha to stay finite
    "edm": lambda x0, eps, alpha, sigma: (
        (sigma * x0 - alpha * STD**2 * eps) / (STD * ((alpha * STD) ** 2 + sigma**2).sqrt())
    ),
}


class Exact(nn.Module):
    """The network of a perfect training: it computes x and t from its own inputs alone."""

    def __init__(self, sde: SDE, prediction: str) -> None:
        super().__init__()
        self.sde, self.prediction = sde, prediction

    def forward(self, z: Tensor, c_noise: Tensor, y: Tensor | None) -> Tensor:
        assert c_noise.shape == (len(z),) and c_noise.dtype == z.dtype
        t = self.sde.time((4 * c_noise.double()).exp())
        alpha, sigma = self.sde.alpha(t)[:, None], self.sde.sigma(t)[:, None]
        x = z * ((alpha * STD) ** 2 + sigma**2).sqrt()
        x0 = MIXTURE.denoiser(self.sde)(x, t, y)
        return TARGETS[self.prediction](x0, (x - alpha * x0) / sigma, alpha, sigma).to(z.dtype)


class Affine(nn.Module):
    """An arbitrary network, far from any target."""

    def forward(self, z: Tensor, c_noise: Tensor, y: Tensor | None) -> Tensor:
        return 0.3 * z - 0.2 + 0.1 * c_noise.view(-1, *[1] * (z.ndim - 1))


def test_every_prediction_has_a_target() -> None:
    """These tests cover every prediction of the table."""
    assert TARGETS.keys() == PREDICTIONS.keys()


@each_combination
def test_exact_network_gives_the_exact_denoiser(name: str, prediction: str) -> None:
    """With the exact network the model is the mixture's denoiser and score, at t () and (B,), with and without y."""
    sde = PROCESSES[name]
    model, exact = ScoreModel(Exact(sde, prediction), sde, prediction, data_std=STD), MIXTURE.denoiser(sde)
    for y in (None, torch.tensor([0, 1, 1, 0, 0])):
        for t in (torch.linspace(sde.t_min, sde.t_max, 7, dtype=torch.float64)[1:-1], *map(as_time, (0.3, 0.7))):
            x = MIXTURE.sample(5, 2, sde, t)
            assert torch.allclose(model(x, t, y), exact(x, t, y), rtol=0, atol=1e-10)
            assert torch.allclose(model.score(x, t, y), MIXTURE.score(x, sde, t, y), rtol=1e-9, atol=1e-9)


@each_combination
def test_loss_target(name: str, prediction: str) -> None:
    """loss is the mean square of F - (x_0 - c_skip x_t) / c_out, the naive target, and that target is the paper's."""
    sde, model = PROCESSES[name], ScoreModel(Affine(), PROCESSES[name], prediction, data_std=STD)
    x0, eps = torch.randn(2, 6, 2, 3, dtype=torch.float64)
    t = torch.linspace(sde.t_min, sde.t_max, 8, dtype=torch.float64)[1:-1]
    alpha, sigma = sde.alpha(t)[:, None, None], sde.sigma(t)[:, None, None]
    x = alpha * x0 + sigma * eps
    z = x / ((alpha * STD) ** 2 + sigma**2).sqrt()
    output = Affine()(z, (sigma / alpha).flatten().log() / 4, None)
    c_skip, c_out = PREDICTIONS[prediction](alpha, sigma, STD)
    naive = (x0 - c_skip * x) / c_out
    assert torch.allclose(naive, TARGETS[prediction](x0, eps, alpha, sigma), rtol=1e-8, atol=1e-8)
    loss = model.loss(x0, t, eps)
    assert loss.shape == (6,)
    assert torch.allclose(loss, (output - naive).square().mean((1, 2)), rtol=1e-8, atol=0)
    one = model.loss(x0, t[2], eps)
    assert torch.allclose(one[2], loss[2], rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("sde", "prediction", "target"),
    [
        (VP(), "eps", lambda x0, eps, alpha, sigma: eps),
        (VE(), "eps", lambda x0, eps, alpha, sigma: eps),
        (VP(), "v", lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0),
        (Cosine(), "v", lambda x0, eps, alpha, sigma: alpha * eps - sigma * x0),
        (RectifiedFlow(), "flow", lambda x0, eps, alpha, sigma: eps - x0),
        (EDM(), "x0", lambda x0, eps, alpha, sigma: x0),
    ],
    ids=["ddpm", "ncsn", "v-diffusion", "v-cosine", "flow-matching", "x0"],
)
def test_loss_is_the_published_one(sde: SDE, prediction: str, target: Callable[..., Tensor]) -> None:
    """The loss is that of Ho et al. 2020 (eq. 14), Salimans & Ho 2022 and Liu et al. 2023."""
    x0, eps = torch.randn(2, 4, 3, dtype=torch.float64)
    t = torch.tensor([sde.t_min, 0.3, 0.6, sde.t_max], dtype=torch.float64)
    alpha, sigma = sde.alpha(t)[:, None], sde.sigma(t)[:, None]
    outputs: list[Tensor] = []
    network = nn.Module()
    network.forward = lambda z, c, y: outputs.append(Affine()(z, c, y)) or outputs[-1]  # type: ignore[method-assign, func-returns-value]
    loss = ScoreModel(network, sde, prediction).loss(x0, t, eps)
    expected = (outputs[0] - target(x0, eps, alpha, sigma)).square().mean(1)
    assert torch.allclose(loss, expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", PROCESSES)
def test_edm_target_has_unit_variance(name: str) -> None:
    """The "edm" target and c_in x_t have variance 1 at every t (Karras et al. 2022, appendix B.6)."""
    sde, seen = PROCESSES[name], []
    network = nn.Module()
    network.forward = lambda z, c, y: seen.append(z) or torch.zeros_like(z)  # type: ignore[method-assign, func-returns-value]
    model = ScoreModel(network, sde, "edm", data_std=STD)
    # x_t and the target are linear in (x_0, eps): their variances are exact from the two unit responses
    one, zero = torch.ones(9, 1, dtype=torch.float64), torch.zeros(9, 1, dtype=torch.float64)
    t = torch.linspace(sde.t_min, sde.t_max, 9, dtype=torch.float64)
    variance = STD**2 * model.loss(one, t, zero) + model.loss(zero, t, one)
    assert torch.allclose(variance, torch.ones_like(variance), rtol=1e-8, atol=0)
    c_in = STD**2 * seen[0] ** 2 + seen[1] ** 2
    assert torch.allclose(c_in, torch.ones_like(c_in), rtol=1e-12, atol=0)


def test_edm_is_karras_table_1() -> None:
    """c_skip, c_out, c_in and c_noise on EDM are those of the table, with sigma_data."""
    sde, seen = EDM(), []
    network = nn.Module()
    network.forward = lambda z, c, y: seen.append((z, c)) or torch.full_like(z, 2.0)  # type: ignore[method-assign, func-returns-value]
    x, t = torch.randn(3, 2, dtype=torch.float64), torch.tensor([0.002, 1.0, 80.0], dtype=torch.float64)
    result, s = ScoreModel(network, sde, "edm", data_std=0.5)(x, t), t[:, None]
    expected = 0.25 / (s**2 + 0.25) * x + s * 0.5 / (s**2 + 0.25).sqrt() * 2.0
    assert torch.allclose(result, expected, rtol=1e-14, atol=0)
    assert torch.allclose(seen[0][0], x / (s**2 + 0.25).sqrt(), rtol=1e-14, atol=0)
    assert torch.allclose(seen[0][1], t.log() / 4, rtol=1e-14, atol=0)


def test_noise_levels_stay_within_those_of_training() -> None:
    """For rho above 1e3, up to infinity, the network receives 1e3, the largest noise level of training."""
    seen: list[Tensor] = []
    network = nn.Module()
    network.forward = lambda z, c, y: seen.append(c) or z  # type: ignore[method-assign, func-returns-value]
    sde = RectifiedFlow()
    ScoreModel(network, sde, "v")(torch.randn(3, 2), sde.time(torch.tensor([1e3, 1e4, math.inf])))
    trained = times(sde, TrainOptions(steps=1), torch.tensor([1.0], dtype=torch.float64))
    assert torch.allclose(seen[0], (sde.rho(trained).log() / 4).float().expand(3))


def test_vp_does_not_scale_the_input() -> None:
    """With VP and data_std = 1, c_in is 1: the network receives x itself."""
    seen: list[Tensor] = []
    network = nn.Module()
    network.forward = lambda z, c, y: seen.append(z) or z  # type: ignore[method-assign, func-returns-value]
    x = torch.randn(4, 2, dtype=torch.float64)
    ScoreModel(network, VP(), "eps")(x, torch.linspace(0.1, 1, 4))
    assert torch.allclose(seen[0], x, rtol=1e-15, atol=0)


@each_combination
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_ends_are_finite_and_the_dtype_stays(name: str, prediction: str, dtype: torch.dtype) -> None:
    """At t_min and at t_max, alpha = 0 included, network inputs, denoiser and loss are finite and of x's dtype."""
    sde, seen = PROCESSES[name], []
    network = nn.Module()
    network.forward = lambda z, c, y: seen.extend((z, c)) or z * 0.5  # type: ignore[method-assign, func-returns-value]
    model, x = ScoreModel(network, sde, prediction), torch.randn(2, 3).to(dtype)
    for t in (*map(as_time, (sde.t_min, sde.t_max)), torch.tensor([sde.t_min, sde.t_max])):
        for result in (model(x, t), model.loss(x, t, x)):
            assert result.dtype == dtype and result.isfinite().all()
    assert all(z.dtype == dtype and z.isfinite().all() for z in seen)


@pytest.mark.parametrize("sde", [Cosine(), RectifiedFlow()], ids=["cosine", "rectified-flow"])
def test_eps_needs_alpha(sde: SDE) -> None:
    """ "eps" on a process whose alpha reaches 0 is refused, and the other predictions are named."""
    with pytest.raises(InputError, match=rf"divides by alpha, which is 0 at t_max of {type(sde).__name__}: choose 'v'"):
        ScoreModel(Affine(), sde, "eps")


def test_unknown_prediction() -> None:
    """The message for an unknown prediction lists the known ones."""
    with pytest.raises(InputError, match=re.escape("no prediction 'noise': choose one of x0, eps, v, flow, edm")):
        ScoreModel(Affine(), VP(), "noise")


def test_gradients_reach_the_network() -> None:
    """The loss of each sample depends on the parameters, and on that sample alone."""
    network = nn.Linear(2, 2, dtype=torch.float64)
    wrapped = nn.Module()
    wrapped.inner, wrapped.forward = network, lambda z, c, y: network(z)  # type: ignore[method-assign]
    model = ScoreModel(wrapped, VP(), "v")
    x0 = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    loss = model.loss(x0, torch.tensor([0.2, 0.5, 0.8]), torch.randn(3, 2, dtype=torch.float64))
    by_sample, by_weight = torch.autograd.grad(loss[1], [x0, network.weight])
    assert by_weight.abs().min() > 0
    assert by_sample[1].abs().min() > 0 and (by_sample[[0, 2]] == 0).all()
    assert sum(p.numel() for p in model.parameters()) == 6
