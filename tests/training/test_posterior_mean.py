"""The exact regression target, compared with a mixture of points and with the plain targets."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.models import ScoreModel
from sdekit.processes import VP, as_time
from sdekit.training import PosteriorMean

ROWS = torch.randn(40, 1, 3, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 3


def drawn(n: int = 64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return indices of rows, numbers in (0, 1) and noise."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randint(40, (n,), generator=generator),
        (torch.arange(n, dtype=torch.float64) + 0.5) / n,
        torch.randn(n, 1, 3, 2, generator=generator),
    )


@pytest.mark.parametrize("name", registry.component_names("sde"))
@pytest.mark.parametrize("labelled", [False, True])
def test_it_is_the_denoiser_of_a_mixture_of_points(name: str, labelled: bool) -> None:
    sde = registry.build("sde", name)
    index, u, eps = drawn()
    t = sde.t_min + u * (sde.t_max - sde.t_min)
    x0, y = ROWS[index], LABELS[index] if labelled else None
    found = PosteriorMean(sde, ROWS, LABELS if labelled else None)(x0, t, eps, y)
    x = sde.perturb(x0.double(), t, eps.double())
    for i in range(len(x0)):
        rows = ROWS if y is None else ROWS[y[i] == LABELS]
        exact = GaussianMixture(rows, 1e-9).denoiser(sde)(x[i : i + 1], t[i : i + 1])
        torch.testing.assert_close(found[i : i + 1].double(), exact, rtol=0, atol=2e-4)


def test_loss_on_the_mean_has_the_same_minimizer_and_less_variance() -> None:
    """The mean of the plain target given x_t is the exact target, so the losses differ by a constant: the variance."""
    sde, n = VP(), len(ROWS)
    flat = ROWS.flatten(1)[:, :2].reshape(n, 2).double()
    t, x = as_time(0.4), torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    eps = (x - alpha * flat) / sigma  # the noise that takes each row to x
    weights = torch.softmax(-(eps.square().sum(1)) / 2, 0)
    mean = PosteriorMean(sde, flat)(flat, t.expand(n), eps)
    torch.testing.assert_close(mean, (weights @ flat).expand(n, 2))
    gaps = []
    for bias in (0.0, 1.5):
        network = torch.nn.Linear(2, 2).double()
        torch.nn.init.constant_(network.weight, 0.3)
        torch.nn.init.constant_(network.bias, bias)
        network.forward = lambda z, c, y, f=network.forward: f(z)
        model = ScoreModel(network, sde, data_std=0.8)
        plain = weights @ model.loss(flat, t.expand(n), eps)
        exact = model.loss(flat, t.expand(n), eps, mean=mean)
        torch.testing.assert_close(exact, exact[:1].expand(n))
        gaps.append((plain - exact[0]).item())
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-9) and gaps[0] > 0.01


def test_rows_far_from_zero() -> None:
    """In float32, rows around 1000 give the same accuracy as the same rows around 0."""
    sde, index = VP(), torch.arange(40)
    near = ROWS[:, 0, 0]
    t = sde.time(torch.logspace(-2, 1, 40, dtype=torch.float64))
    eps = torch.randn(40, 2, generator=torch.Generator().manual_seed(2))
    expected = PosteriorMean(sde, near.double())(near[index].double(), t, eps.double())
    far = PosteriorMean(sde, near + 1000)(near[index] + 1000, t, eps) - 1000
    torch.testing.assert_close(far.double(), expected, rtol=0, atol=0.02)


@pytest.mark.parametrize(("most", "has"), [(0, False), (399, False), (400, True)])
def test_only_small_sets_have_it(moons: Callable[..., Any], most: int, has: bool) -> None:
    recipe, data = moons(exact_target=most)
    assert (PosteriorMean.of(data, np.arange(400), recipe) is not None) is has
