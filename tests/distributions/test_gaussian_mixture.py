"""Gaussian mixtures: every function against an independent computation."""

import math
import re

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.processes import SDE, VP, RectifiedFlow, as_time

PROCESSES = registry.component_names("sde")
each_process = pytest.mark.parametrize("sde", [registry.build("sde", name) for name in PROCESSES], ids=PROCESSES)

MEANS = torch.tensor([[-1.0, 0.5, 0.0], [1.0, -0.5, 2.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
STDS = torch.tensor([[0.5, 0.2, 1.0], [0.3, 0.7, 0.4], [0.6, 0.6, 0.1]], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
MIXTURE = GaussianMixture(MEANS, STDS, WEIGHTS)


def some_times(sde: SDE) -> list[Tensor]:
    """Both ends of the times, and three times between them."""
    return list(torch.linspace(sde.t_min, sde.t_max, 5, dtype=torch.float64))


@each_process
def test_log_prob_is_scipys(sde: SDE) -> None:
    """p_t sums scipy's normal densities over components, with means alpha mu and variances alpha^2 s^2 + sigma^2."""
    for t in some_times(sde):
        x = MIXTURE.sample(8, 3, sde, t)
        alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
        expected = np.logaddexp.reduce(
            [
                math.log(w / 8) + stats.multivariate_normal(alpha * m, np.diag(alpha**2 * s**2 + sigma**2)).logpdf(x)
                for m, s, w in zip(MEANS.numpy(), STDS.numpy(), WEIGHTS.tolist(), strict=True)
            ]
        )
        assert np.allclose(MIXTURE.log_prob(x, sde, t), expected, rtol=1e-11, atol=1e-11)


def test_log_prob_of_the_data() -> None:
    """Without a process, log_prob is that of x_0; in one dimension, the density integrates to 1."""
    mixture = GaussianMixture(torch.tensor([[-1.0], [2.0]]), torch.tensor([0.3, 0.8]), torch.tensor([0.25, 0.75]))
    x = torch.tensor([[0.1], [1.7]], dtype=torch.float64)
    expected = np.log(0.25 * stats.norm(-1, 0.3).pdf(x[:, 0]) + 0.75 * stats.norm(2, 0.8).pdf(x[:, 0]))
    # 0.3 and 0.8 were given in float32
    assert np.allclose(mixture.log_prob(x), expected, rtol=1e-6)
    axis = torch.linspace(-10, 12, 20_001, dtype=torch.float64)
    assert abs(float(torch.trapezoid(mixture.log_prob(axis[:, None]).exp(), axis)) - 1) < 1e-12


@each_process
def test_score_is_the_gradient(sde: SDE) -> None:
    """The score, from the denoiser by Tweedie's formula, is autograd's gradient of log p_t."""
    for t in some_times(sde):
        for y in (None, torch.tensor([0, 1, 2, 0, 1, 2])):
            x = MIXTURE.sample(6, 1, sde, t).requires_grad_()
            (expected,) = torch.autograd.grad(MIXTURE.log_prob(x, sde, t, y).sum(), x)
            score = MIXTURE.score(x.detach(), sde, t, y)
            # alpha E - x cancels where sigma is small
            scale = 1e-14 * x.detach().abs().max() / sde.sigma(t) ** 2
            assert torch.allclose(score, expected, rtol=1e-9, atol=float(1e-10 + scale))


@each_process
def test_denoiser_is_the_conditional_mean(sde: SDE) -> None:
    """The denoiser equals adaptive quadrature of x_0 p(x_0) N(x; alpha x_0, sigma^2) in one dimension."""
    means, stds, weights = [-1.0, 0.75], [0.5, 0.25], [0.4, 0.6]
    mixture = GaussianMixture(
        torch.tensor(means)[:, None], torch.tensor(stds), torch.tensor(weights, dtype=torch.float64)
    )

    def prior(x0: float) -> float:
        return sum(w * math.exp(-0.5 * ((x0 - m) / s) ** 2) / s for w, m, s in zip(weights, means, stds, strict=True))

    for t in some_times(sde)[1:]:
        alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
        for x in (-0.8 * alpha + sigma, 0.3 * alpha - 0.2 * sigma):

            def likelihood(x0: float, x: float = x, alpha: float = alpha, sigma: float = sigma) -> float:
                return prior(x0) * math.exp(-0.5 * ((x - alpha * x0) / sigma) ** 2)

            points = [*means, x / alpha] if abs(x) < 6 * alpha else means
            top, bottom = (
                integrate.quad(f, -6, 6, points=points, epsabs=0, epsrel=1e-12, limit=500)[0]
                for f in (lambda x0: x0 * likelihood(x0), likelihood)
            )
            result = mixture.denoiser(sde)(torch.tensor([[x]], dtype=torch.float64), t)
            assert abs(float(result) - top / bottom) < 1e-8


@each_process
def test_condition_picks_a_component(sde: SDE) -> None:
    """With y, denoiser and log_prob are the closed form of one Gaussian, x_0 = mu + alpha s^2 (x - alpha mu) / var."""
    y = torch.tensor([2, 0, 1, 1, 2])
    mu, s = MEANS[y], STDS[y]
    for t in some_times(sde):
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        x = MIXTURE.sample(5, 0, sde, t)
        variance = alpha**2 * s**2 + sigma**2
        expected = mu + alpha * s**2 / variance * (x - alpha * mu)
        assert torch.allclose(MIXTURE.denoiser(sde)(x, t, y), expected, rtol=1e-12, atol=1e-12)
        log_prob = torch.distributions.Normal(alpha * mu, variance.sqrt()).log_prob(x).sum(1)
        assert torch.allclose(MIXTURE.log_prob(x, sde, t, y), log_prob, rtol=1e-12, atol=1e-12)


@each_process
def test_samples_have_the_moments(sde: SDE) -> None:
    """Mean and covariance of 20000 samples of x_t are alpha m and alpha^2 C + sigma^2, within 5 standard errors."""
    n, w = 20_000, WEIGHTS / 8
    mean = w @ MEANS
    cov = torch.einsum("k,ki,kj->ij", w, MEANS - mean, MEANS - mean) + torch.diag(w @ STDS**2)
    for t in (as_time(sde.t_min), as_time(0.5), as_time(sde.t_max)):
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        x = MIXTURE.sample(n, 7, sde, t)
        expected = alpha**2 * cov + sigma**2 * torch.eye(3)
        sd = expected.diagonal().sqrt()
        assert ((x.mean(0) - alpha * mean).abs() < 5 * sd / n**0.5).all()
        # the products' kurtosis is below that of a normal's, 2, times 1.5
        assert ((x.T.cov() - expected).abs() < 5 * (3 / n) ** 0.5 * torch.outer(sd, sd)).all()


def test_sample_of_one_component() -> None:
    """sample(y=k) draws from component k only; without y, components have the frequencies of the weights."""
    x = MIXTURE.sample(20_000, 0, y=1)
    assert ((x.mean(0) - MEANS[1]).abs() < 5 * STDS[1] / 20_000**0.5).all()
    assert ((x.std(0) / STDS[1] - 1).abs() < 5 / 40_000**0.5).all()
    narrow = GaussianMixture(MEANS, 1e-3, WEIGHTS).sample(20_000)
    share = (torch.cdist(narrow, MEANS).argmin(1, keepdim=True) == torch.arange(3)).double().mean(0)
    assert ((share - WEIGHTS / 8).abs() < 5 * 0.5 / 20_000**0.5).all()
    assert torch.equal(MIXTURE.sample(5, 1), MIXTURE.sample(5, 1))
    assert not torch.equal(MIXTURE.sample(5, 1), MIXTURE.sample(5, 2))


def test_no_condition_on_samples() -> None:
    """y = -1 means no condition in `sample`, as in the denoiser and the density."""
    assert torch.equal(MIXTURE.sample(9, 3, y=-1), MIXTURE.sample(9, 3))


def test_forms_of_stds() -> None:
    """Equal stds as a number, (K,) and (K, d) give equal mixtures; weights are equal by default."""
    x, sde, t = torch.randn(4, 3, dtype=torch.float64), VP(), as_time(0.3)
    each = torch.tensor([0.5, 0.25, 2.0], dtype=torch.float64)
    pairs = [
        (GaussianMixture(MEANS, 0.5), GaussianMixture(MEANS, torch.full((3, 3), 0.5), torch.full((3,), 7.0))),
        (GaussianMixture(MEANS, each), GaussianMixture(MEANS, each[:, None].expand(3, 3))),
    ]
    for one, other in pairs:
        assert torch.equal(one.denoiser(sde)(x, t), other.denoiser(sde)(x, t))
        assert torch.equal(one.log_prob(x, sde, t), other.log_prob(x, sde, t))


def test_images() -> None:
    """A mixture of images keeps the shape of x and equals the mixture of flattened images."""
    means = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    image, flat = GaussianMixture(means, 0.3), GaussianMixture(means.flatten(1), 0.3)
    sde, t, y = VP(), torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), torch.tensor([3, 0, 0])
    x = image.sample(3, 5, sde, as_time(0.5))
    assert x.shape == (3, 1, 8, 8)
    for args in ((t,), (t, y)):
        result = image.denoiser(sde)(x, *args)
        assert result.shape == x.shape
        assert torch.equal(result.flatten(1), flat.denoiser(sde)(x.flatten(1), *args))
    assert torch.equal(image.log_prob(x, sde, t), flat.log_prob(x.flatten(1), sde, t))
    assert image.score(x, sde, t).shape == x.shape and image.log_prob(x).shape == (3,)


@each_process
def test_one_time_or_one_for_each_sample(sde: SDE) -> None:
    """t (B,) applies sample by sample in denoiser, log_prob, score and sample."""
    t = torch.linspace(sde.t_min, sde.t_max, 4, dtype=torch.float64)
    x = torch.randn(4, 3, dtype=torch.float64)
    for function in (
        MIXTURE.denoiser(sde),
        lambda x, t: MIXTURE.score(x, sde, t),
        lambda x, t: MIXTURE.log_prob(x, sde, t),
    ):
        rows = torch.cat([function(x[i : i + 1], t[i]) for i in range(4)])
        assert torch.allclose(function(x, t), rows, rtol=1e-13, atol=1e-13)
    rows = torch.stack([MIXTURE.sample(4, 9, sde, u)[i] for i, u in enumerate(t)])
    assert torch.equal(MIXTURE.sample(4, 9, sde, t), rows)


def test_float32() -> None:
    """Results for float32 samples are the float64 results, rounded to float32."""
    x, sde, t = torch.randn(6, 3), RectifiedFlow(), as_time(0.4)
    for function in (MIXTURE.denoiser(sde), lambda x, t: MIXTURE.log_prob(x, sde, t)):
        assert function(x, t).dtype == torch.float32
        assert torch.equal(function(x, t), function(x.double(), t).float())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GaussianMixture(torch.zeros(3), 1.0), "means must be (K, *shape) with K >= 1, got (3,)"),
        (lambda: GaussianMixture(torch.zeros(0, 2), 1.0), "got (0, 2)"),
        (lambda: GaussianMixture(MEANS, torch.ones(4)), "stds (4, 1) do not fit means (3, 3)"),
        (lambda: GaussianMixture(MEANS, 0.0), "stds positive"),
        (lambda: GaussianMixture(MEANS, math.nan), "stds positive"),
        (lambda: GaussianMixture(MEANS, 1.0, torch.ones(2)), "weights must be (K,)"),
        (lambda: GaussianMixture(MEANS, 1.0, torch.tensor([1.0, 0.0, 1.0])), "weights must be (K,) and positive"),
        (lambda: MIXTURE.log_prob(torch.zeros(1, 3), VP()), "give sde and t, or neither"),
        (lambda: MIXTURE.log_prob(torch.zeros(1, 3), t=0.5), "give sde and t, or neither"),
        (lambda: MIXTURE.log_prob(torch.zeros(5, 2), VP(), 0.5), "x has shape (5, 2), expected (B, 3)"),
        (lambda: MIXTURE.log_prob(torch.zeros(5, 1)), "x has shape (5, 1), expected (B, 3)"),
        (lambda: GaussianMixture(MEANS, 1.0, torch.tensor([1.0, math.inf, 1.0])), "both finite"),
        (lambda: GaussianMixture(MEANS * math.nan, 1.0), "means must be finite"),
        (lambda: MIXTURE.sample(5, y=3), "y must be a component, 0 to 2, got 3"),
        (lambda: MIXTURE.sample(5, 2**32), "seeds must be between 0 and 2^32 - 1"),
        (lambda: MIXTURE.sample(5, sde=VP()), "give sde and t, or neither"),
        (lambda: MIXTURE.denoiser(VP())(torch.zeros(5, 3, 1), 0.5), "x has shape (5, 3, 1), expected (B, 3)"),
    ],
)
def test_errors(build: object, message: str) -> None:
    """Arguments that do not fit raise an error with their shapes."""
    with pytest.raises(InputError, match=re.escape(message)):
        build()  # type: ignore[operator]
