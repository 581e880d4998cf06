"""Inverse problems: exact posteriors, methods that are exact on Gaussians, and laws of all methods."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sdekit import EDM, VP, GaussianMixture, RectifiedFlow, registry
from sdekit.distributions import FullCovarianceMixture
from sdekit.errors import InputError, SdekitError
from sdekit.inverse import (
    LinearizedDenoiser,
    Problem,
    build_restorer,
    conjugate_gradients,
    estimate_noise,
    regularized_least_squares,
    restore,
)
from sdekit.inverse.operators import (
    Average,
    Function,
    Grayscale,
    Magnitude,
    Mask,
    Matrix,
    Radon,
    in_model_units,
    measurement_from_array,
)
from sdekit.inverse.operators.operator_units import Scaled
from sdekit.inverse.replacement_sampling import replace_measured
from sdekit.models import ScoreModel
from sdekit.processes import SDE, as_time
from sdekit.sampling import Sampler

METHODS = registry.component_names("restorer")
SDES = {"vp": VP(), "edm": EDM(), "rectified-flow": RectifiedFlow()}


def random(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(d: int = 5) -> FullCovarianceMixture:
    """One Gaussian with a full covariance."""
    m = random(d, d, seed=1)
    return FullCovarianceMixture(random(1, d), (m @ m.T / d + 0.1 * torch.eye(d))[None])


MIXTURE = GaussianMixture(random(3, 6), 0.3)
PROBLEM = Problem(Matrix(random(2, 6, seed=2)), random(2, seed=3), 0.1)


def test_the_posterior_of_a_gaussian() -> None:
    """Mean and covariance of the posterior equal the textbook formula, and samples have them."""
    prior, a, y, s = correlated(), random(3, 5, seed=4), random(3, seed=5), 0.4
    mu, cov = prior.means[0], prior.covariances[0]
    precision = cov.inverse() + a.T @ a / s**2
    mean = precision.inverse() @ (cov.inverse() @ mu + a.T @ y / s**2)
    found = prior.posterior(Matrix(a), y, s)
    torch.testing.assert_close(found.means[0], mean)
    torch.testing.assert_close(found.covariances[0], precision.inverse())
    drawn = found.sample(20_000, seed=1)
    assert (drawn.mean(0) - mean).abs().max() < 0.02 and (drawn.T.cov() - found.covariances[0]).abs().max() < 0.02


def test_the_posterior_of_a_mixture() -> None:
    """The density of the posterior is proportional to prior times likelihood."""
    found = MIXTURE.posterior(PROBLEM.operator, PROBLEM.measurement, 0.1)
    x = MIXTURE.sample(50, 1)

    def log_prob(mixture: FullCovarianceMixture) -> Tensor:
        each = [
            torch.distributions.MultivariateNormal(m, c).log_prob(x)
            for m, c in zip(mixture.means, mixture.covariances, strict=True)
        ]
        return (torch.stack(each, 1) + mixture.log_weights).logsumexp(1)

    likelihood = -PROBLEM.residual(x).square().sum(1) / (2 * 0.1**2)
    difference = log_prob(found) - MIXTURE.log_prob(x) - likelihood
    assert difference.std() < 1e-8
    torch.testing.assert_close(
        found.responsibilities(found.means).diagonal().sum(), torch.tensor(3.0).double(), rtol=0.2, atol=0
    )
    t = as_time(0.4)
    torch.testing.assert_close(MIXTURE.full().denoiser(VP())(x, t), MIXTURE.denoiser(VP())(x, t))
    with pytest.raises(InputError, match="noise_std > 0"):
        MIXTURE.posterior(PROBLEM.operator, PROBLEM.measurement, 0.0)


@pytest.mark.parametrize("sde", SDES.values(), ids=SDES)
@pytest.mark.parametrize("method", ["mmps", "pigdm"])
def test_exact_on_a_gaussian(sde: SDE, method: str) -> None:
    """The guided denoiser is E[x_0 | x_t, y] to 1e-9: mmps for any Gaussian, pigdm for an isotropic one."""
    isotropic = GaussianMixture(random(1, 5), 0.7)
    prior = correlated() if method == "mmps" else isotropic.full()
    options = {"iterations": 20, "tolerance": 1e-13} if method == "mmps" else {"data_std": 0.7}
    problem = Problem(Matrix(random(3, 5, seed=4)), random(3, seed=5), 0.1)
    exact = prior.posterior(problem.operator, problem.measurement, 0.1).denoiser(sde)
    guided = build_restorer(method, problem, **options)(sde, prior.denoiser(sde))
    for rho in (0.02, 0.3, 1.0, 5.0, 70.0):
        t = sde.time(as_time(rho))
        x = sde.perturb(prior.sample(4, 1), t, random(4, 5, seed=6))
        torch.testing.assert_close(guided(x, t), exact(x, t), atol=1e-9, rtol=0)
        per_row = torch.stack([t, t * 0.9, t, t])
        torch.testing.assert_close(guided(x, per_row)[[0, 2, 3]], exact(x, t)[[0, 2, 3]], atol=1e-9, rtol=0)


def test_samples_of_mmps_are_the_posterior() -> None:
    """Samples of mmps have the posterior's mean and variance, up to the sampling error of 2,000 samples."""
    prior, problem = correlated(), Problem(Matrix(random(2, 5, seed=4)), random(2, seed=5), 0.2)
    exact = prior.posterior(problem.operator, problem.measurement, 0.2)
    made = build_restorer("mmps", problem, iterations=6)
    x = restore(VP(), prior.denoiser(VP()), problem, made, n=2000, steps=25, sampler="heun", dtype=torch.float64).x
    spread = exact.covariances[0].diagonal().sqrt()
    assert ((x.mean(0) - exact.means[0]) / spread).abs().max() < 4 / math.sqrt(2000)
    assert (x.T.cov() / exact.covariances[0] - 1).diagonal().abs().max() < 5 * math.sqrt(2 / 2000)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sde", SDES.values(), ids=SDES)
def test_what_every_method_keeps(method: str, sde: SDE) -> None:
    """Samples are finite, keep shape and dtype, cost the declared calls, and depend on their seed only."""
    few = {"tds": {"particles": 3}, "repaint": {"repeats": 2}}.get(method, {})
    for noise_std, dtype in ((0.0, torch.float32), (0.1, torch.float64)):
        problem = Problem(PROBLEM.operator, PROBLEM.measurement, noise_std)
        made = build_restorer(method, problem, **few)
        calls = made.calls_per_step if isinstance(made, Sampler) else 1
        for steps in (1, 2, 5) if noise_std else (4,):
            drawn = restore(sde, MIXTURE.denoiser(sde), problem, made, n=3, steps=steps, dtype=dtype, trajectory=True)
            assert drawn.nfe == (steps - 1) * (calls or 0) + 1
            assert drawn.x.shape == (3, 6) and drawn.x.dtype == dtype and drawn.x.isfinite().all()
            assert drawn.trajectory is not None and len(drawn.trajectory) == steps + 1
        alone = restore(sde, MIXTURE.denoiser(sde), problem, made, seeds=[2], steps=steps, dtype=dtype)
        torch.testing.assert_close(alone.x[0], drawn.x[2], atol=1e-4 if dtype == torch.float32 else 1e-9, rtol=0)


@pytest.mark.parametrize("noise_std", [0.0, 0.1])
@pytest.mark.parametrize("method", ["dps", "pigdm", "tmpd", "mmps"])
@pytest.mark.parametrize("sde", SDES.values(), ids=SDES)
def test_few_steps_stay_with_the_data(sde: SDE, method: str, noise_std: float) -> None:
    """In few steps, with and without noise, samples stay as large as the data and near the measurement."""
    largest = float(MIXTURE.sample(500, 1).abs().max())
    operator = Mask(torch.tensor([1, 0, 1, 0, 0, 0]))
    problem = Problem(operator, operator.apply(MIXTURE.sample(1, 3))[0], noise_std)
    for steps in (1, 2, 3):
        x = restore(sde, MIXTURE.denoiser(sde), problem, method, n=16, steps=steps, dtype=torch.float64).x
        assert x.abs().max() < 1.3 * largest
        assert problem.residual(x).square().mean().sqrt() < 0.3


@pytest.mark.parametrize("method", ["tds", "repaint"])
def test_particles_and_repeats_are_drawn_apart(method: str) -> None:
    """Only one particle or repetition uses the increment of a Brownian path; the others draw new noise."""
    steps, seen = torch.stack([as_time(0.6), as_time(0.5)]), list[bool]()

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        seen.append(t is not None and s is not None and bool(t != s))
        return torch.ones(2, 6, dtype=torch.float64) if seen[-1] else random(2, 6, seed=len(seen))

    made = build_restorer(method, PROBLEM)
    assert isinstance(made, Sampler)
    list(made.trajectory(VP(), MIXTURE.denoiser(VP()), random(2, 6, seed=50), steps, noise))
    assert sum(seen) == 1 and len(seen) > 5


def test_particles_start_where_x_is() -> None:
    """Below t_max all particles start from x, and every yielded state has the noise level of its time."""
    sde = EDM()
    operator = Matrix(random(1, 6, seed=2))
    problem = Problem(operator, operator.apply(MIXTURE.sample(1, 3))[0], 0.2)
    t = as_time(1.0)
    grid = torch.linspace(1.0, sde.t_min, 20, dtype=torch.float64)
    x = MIXTURE.sample(64, 4, sde, t)
    drawn = restore(sde, MIXTURE.denoiser(sde), problem, "tds", x=x, grid=grid, trajectory=True, dtype=torch.float64)
    assert drawn.x.abs().max() < 1.3 * MIXTURE.sample(500, 1).abs().max()
    whole = restore(sde, MIXTURE.denoiser(sde), problem, "tds", n=64, steps=20, trajectory=True, dtype=torch.float64)
    for each in (drawn, whole):
        assert each.trajectory is not None
        for t, x in zip(each.times, each.trajectory, strict=False):
            assert x.square().mean().sqrt() < 1.3 * (1 + sde.sigma(t) ** 2).sqrt()


@pytest.mark.parametrize("method", [m for m in METHODS if m != "dps"])
def test_a_mask_is_kept(method: str) -> None:
    """With a mask and almost no noise, the samples contain the measured numbers."""
    problem = Problem(Mask(torch.tensor([1, 0, 1, 0, 0, 0])), MIXTURE.sample(1, 3)[0], 1e-3)
    x = restore(VP(), MIXTURE.denoiser(VP()), problem, method, n=4, steps=20, dtype=torch.float64).x
    assert problem.residual(x)[:, [0, 2]].abs().max() < 0.15


def test_tds_beats_its_guidance() -> None:
    """Eight particles recover the weights of two modes better than guidance with as many evaluations."""
    mixture = GaussianMixture(torch.tensor([[-1.0, -1.0], [1.2, 1.0]]), torch.tensor([0.5, 0.2]))
    problem = Problem(Matrix(torch.tensor([[1.0, 0.3]])), torch.tensor([0.3]), 0.3)
    exact = mixture.posterior(problem.operator, problem.measurement, 0.3)

    def error(method: str, calls: int) -> float:
        x = restore(VP(), mixture.denoiser(VP()), problem, method, n=400, nfe=calls, dtype=torch.float64).x
        return float((exact.responsibilities(x).mean(0) - exact.weights).abs().max())

    assert error("tds", 160) < 0.06 < error("mmps", 160)


def test_conjugate_gradients() -> None:
    """Conjugate gradients solve row by row, give the shortest solution, and stop if `apply` is negative."""
    m = random(4, 4)
    spd = m @ m.T + torch.eye(4)
    b = random(3, 4, seed=1)
    torch.testing.assert_close(conjugate_gradients(lambda v: v @ spd, b, tolerance=1e-14), b @ spd.inverse())
    half = torch.diag(torch.tensor([2.0, 0, 0, 1]).double())
    assert conjugate_gradients(lambda v: v @ half, b @ half)[:, 1:3].abs().max() == 0
    assert (
        conjugate_gradients(lambda v: -v, b).abs().max() == 0
        and conjugate_gradients(lambda v: v, 0 * b).abs().max() == 0
    )


@pytest.mark.parametrize("rows", [2, 6, 9])
def test_a_ridge_is_the_dense_solution(rows: int) -> None:
    """The result is A* (signal A A* + noise)^-1 r or A^+ r, for r inside and outside of the range of A."""
    m = random(rows, 6)
    m[:, 5] = m[:, 4]  # singular, however many rows
    r, signal = random(3, rows, seed=1), torch.tensor([0.5, 1.0, 40.0]).double()
    exact = torch.stack(
        [m.T @ torch.linalg.solve(s * m @ m.T + 0.3 * torch.eye(rows), v) for s, v in zip(signal, r, strict=True)]
    )
    torch.testing.assert_close(regularized_least_squares(Matrix(m), r, signal, 0.3), exact, atol=1e-5, rtol=1e-5)
    shortest = r @ torch.linalg.pinv(m).T
    torch.testing.assert_close(regularized_least_squares(Matrix(m), r, 1.0, 0.0), shortest, atol=1e-4, rtol=1e-4)
    assert regularized_least_squares(Matrix(m), 0 * r, 1.0, 0.0).abs().max() == 0
    torch.testing.assert_close(
        regularized_least_squares(Matrix(m), r.float(), 1.0, 0.0).double(), shortest, atol=1e-2, rtol=1e-2
    )


def test_a_ridge_leaves_the_noise() -> None:
    """With least_gain, directions that the operator hardly measures are left out, and only those."""
    u, v = (torch.linalg.qr(random(6, 6, seed=s))[0] for s in (1, 2))
    operator = Matrix(u @ torch.diag(torch.tensor([1.0, 0.9, 0.7, 1e-3, 1e-3, 1e-4]).double()) @ v.T)
    r = operator.apply(random(20, 6, seed=3)) + 0.1 * random(20, 6, seed=4)
    assert regularized_least_squares(operator, r, 1.0, 0.0).abs().max() > 100
    told = v @ torch.diag(torch.tensor([1.0, 1 / 0.9, 1 / 0.7, 0, 0, 0]).double()) @ u.T
    torch.testing.assert_close(
        regularized_least_squares(operator, r, 1.0, 0.0, least_gain=0.01), r @ told.T, atol=0.01, rtol=0
    )


@pytest.mark.parametrize("noise_std", [0.1, 0.0])
@pytest.mark.parametrize("method", ["replacement", "repaint", "diffpir", "pigdm"])
def test_a_measurement_that_nothing_makes(method: str, noise_std: float) -> None:
    """If noise leads y out of the range of A, samples stay as large as the data, whatever noise_std is."""
    shape = (1, 4, 4)
    mixture = GaussianMixture(random(3, *shape), 0.5)
    x0, operator = mixture.sample(1, 5), Radon(shape, 4)
    problem = Problem(operator, operator.apply(x0)[0] + 0.1 * random(*operator.measured, seed=3), noise_std)
    for sde in (VP(), RectifiedFlow()):
        x = restore(sde, mixture.denoiser(sde), problem, method, n=4, steps=20).x
        assert x.abs().max() < 1.5 * mixture.sample(200, 1).abs().max()
        assert problem.residual(x.double()).square().mean().sqrt() < 0.2


def test_replacement_puts_the_measurement_in_place() -> None:
    """A x_s becomes alpha_s y + noise, the orthogonal part stays, and nothing changes below the noise of y."""
    sde, s = VP(), as_time(0.5)
    operator = Average((1, 4, 4), 2)
    problem = Problem(operator, random(1, 2, 2), 0.1)
    x = random(5, 1, 4, 4, seed=1)
    moved = replace_measured(problem, sde, x, s, torch.zeros_like(x))
    torch.testing.assert_close(operator.apply(moved), (sde.alpha(s) * problem.measurement).expand(5, 1, 2, 2))
    change = moved - x
    torch.testing.assert_close(change, operator.adjoint(operator.apply(change)) * 4)
    assert replace_measured(problem, sde, x, as_time(1e-4), x) is x


def test_mistakes_are_told() -> None:
    """Measurements that do not fit, operators that are not linear, and options out of range are refused."""
    with pytest.raises(InputError, match=r"measurement has shape \(3,\).* makes \(2,\) of a sample of shape \(6,\)"):
        Problem(PROBLEM.operator, torch.zeros(3))
    with pytest.raises(InputError, match="noise_std must be at least 0, got -1"):
        Problem(PROBLEM.operator, torch.zeros(2), -1.0)
    phase = Problem(Magnitude((6,)), torch.ones(6))
    for method in sorted(set(METHODS) - {"dps"}):
        with pytest.raises(InputError, match=f"{method} needs a linear operator, and Magnitude is not: use dps"):
            build_restorer(method, phase)
    for method, options in {
        "dps": {"strength": 0.0},
        "pigdm": {"data_std": -1.0},
        "mmps": {"mode_variance_fraction": 1.5},
        "ddrm": {"eta": 2.0},
        "diffpir": {"zeta": -1.0},
        "repaint": {"repeats": 0},
        "replacement": {"sampler": "ode"},
        "tds": {"particles": 0},
        "tmpd": {"mode_variance_fraction": 0.0},
    }.items():
        with pytest.raises(InputError, match=f"{method}: "):
            build_restorer(method, PROBLEM, **options)
    with pytest.raises(InputError, match="is a sampler itself"):
        restore(VP(), MIXTURE.denoiser(VP()), PROBLEM, "ddrm", sampler="ddim", n=1)


def test_a_network_without_gradients() -> None:
    """The error for a network without gradients names the backend and the methods to use."""

    def detached(x: Tensor, t: Tensor) -> Tensor:
        return MIXTURE.denoiser(VP())(x.detach(), t)

    with pytest.raises(SdekitError, match="choose the backend 'eager', or a method that needs none"):
        restore(VP(), detached, PROBLEM, "mmps", n=1, steps=3)
    assert restore(VP(), detached, PROBLEM, "ddrm", n=1, steps=3).x.isfinite().all()


def test_not_linear_by_dps() -> None:
    """From magnitudes alone, most samples of dps have nearly the measured magnitudes."""
    truth = MIXTURE.sample(1, 5)
    operator = Magnitude((6,))
    problem = Problem(operator, operator.apply(truth)[0], 0.05)
    guided = restore(VP(), MIXTURE.denoiser(VP()), problem, "dps", n=16, steps=60, dtype=torch.float64).x
    plain = MIXTURE.sample(16, 9)
    near, far = (problem.residual(x).square().mean(1).median() for x in (guided, plain))
    assert near < 0.1 * far


def test_the_covariance_at_infinite_noise() -> None:
    """At a time where alpha is 0, the moments are those of the data."""
    prior, sde = correlated(), RectifiedFlow()
    local = LinearizedDenoiser(sde, prior.denoiser(sde), random(2, 5), as_time(1.0))
    assert (local.x0 - prior.means).abs().max() < 0.01
    torch.testing.assert_close(
        local.covariance(torch.eye(5)[:2].double()), prior.covariances[0, :2], rtol=0.02, atol=0.01
    )


class Gaussian(torch.nn.Module):
    """The network of the exact denoiser of N(0, I) under prediction x0 on VP."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """alpha x, alpha = 1 / sqrt(1 + rho^2)."""
        rho = (4 * c_noise).exp().view(-1, *[1] * (x.ndim - 1))
        return x / (1 + rho**2).sqrt() + 0 * sum(p.sum() for p in self.parameters())

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))


def test_the_noise_is_estimated() -> None:
    """The noise is estimated to within a factor of 1.5 from 40 measured numbers."""
    model = ScoreModel(Gaussian(), VP(), "x0")
    operator = Function((40,), lambda x: x.cumsum(1) / 3)
    for noise_std in (0.3, 1.0):
        y = operator.apply(random(1, 40, seed=2))[0] + noise_std * random(40, seed=3)
        assert estimate_noise(model, operator, y) == pytest.approx(noise_std, rel=0.5)


def test_units() -> None:
    """The residual in the units of the model equals that in the units of the data, up to the scale."""
    from sdekit.data import Units

    x = random(2, 3, 4, 4)
    for units in (Units(shift=8.0, scale=4.0), Units(shift=(1.0, 2.0, 3.0), scale=(1.0, 2.0, 5.0))):
        many = isinstance(units.scale, tuple)
        sample = x[:, :, 0, 0] if many else x
        operator = Matrix(random(2, 3)) if many else Average((3, 4, 4), 2)
        data = sample * torch.tensor(units.scale) + torch.tensor(units.shift)
        y = operator.apply(data)[0]
        inner, told, std = in_model_units(operator, units, y, 0.5)
        residual = told - inner.apply(sample)
        assert residual[0].abs().max() < 1e-12 and residual[1].abs().max() > 0.1
        assert isinstance(inner, Scaled) is many and std == (0.5 if many else 0.125)
    phase, y, _ = in_model_units(Magnitude((4,)), Units(shift=1.0, scale=2.0), torch.ones(4), 0.5)
    torch.testing.assert_close(phase.apply(x[:, 0, 0]), Magnitude((4,)).apply(2 * x[:, 0, 0] + 1))


def test_measurements_as_people_keep_them() -> None:
    """Grey images without a channel and images with channels last are accepted; other shapes are refused."""
    grey = Grayscale((3, 4, 6))
    assert measurement_from_array(random(4, 6).numpy(), grey, "y").shape == (1, 4, 6)
    assert measurement_from_array(random(4, 6, 3).numpy(), grey, "y").shape == (1, 4, 6)
    assert measurement_from_array(random(2, 3, 3).numpy(), Average((3, 4, 6), 2), "y").shape == (3, 2, 3)
    with pytest.raises(InputError, match=r"FILE: the measurement has shape \(4, 5\).* makes \(1, 4, 6\)"):
        measurement_from_array(random(4, 5).numpy(), grey, "FILE")
