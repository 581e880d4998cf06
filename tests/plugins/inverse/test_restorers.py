"""dps, pigdm, tmpd and mmps on data of several modes: errors of their defaults, and the range of samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdekit import VP, GaussianMixture
from sdekit.inverse import LinearizedDenoiser, Problem, build_restorer, restore
from sdekit.inverse.operators import Average, Matrix
from sdekit.processes import as_time


def random(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MIXTURE = GaussianMixture(random(3, 6), 0.3)
PROBLEM = Problem(Matrix(random(2, 6, seed=2)), random(2, seed=3), 0.1)


@pytest.mark.parametrize("method", ["dps", "pigdm", "tmpd", "mmps"])
def test_the_range_of_the_data_is_kept(method: str) -> None:
    """Samples stay in the range of the data, with and without noise, for an operator with large values."""
    largest = float(MIXTURE.sample(500, 1).abs().max())
    operator = Matrix(10 * random(2, 6, seed=2))
    for noise_std in (0.0, 0.05):
        problem = Problem(operator, operator.apply(MIXTURE.sample(1, 3))[0], noise_std)
        x = restore(VP(), MIXTURE.denoiser(VP()), problem, method, n=16, steps=30, dtype=torch.float64).x
        assert x.abs().max() < 1.3 * largest
        if method in ("pigdm", "mmps"):  # the others do not divide by the covariance of all that is measured
            assert problem.residual(x).square().mean().sqrt() < 0.1 * problem.measurement.abs().max()


def test_one_mode_or_several() -> None:
    """The share of the variance that remains if the mode is known; pigdm takes all of it if it is given data_std."""
    sde, x = VP(), random(2, 6)
    for rho, left in ((1e-3, 1.0), (1.0, 2 * 0.2 / 1.2), (900.0, 0.2)):
        local = LinearizedDenoiser(sde, MIXTURE.denoiser(sde), x, sde.time(as_time(rho)))
        assert float(local.within_mode(0.2)) == pytest.approx(left, rel=1e-4) and local.within_mode(1.0) == 1
    t = sde.time(as_time(1.0))

    def at(method: str, **options: float) -> Tensor:
        return build_restorer(method, PROBLEM, **options)(sde, MIXTURE.denoiser(sde))(x, t)

    torch.testing.assert_close(at("pigdm", data_std=1.0), at("pigdm", data_std=1.0, mode_variance_fraction=1.0))
    for method in ("pigdm", "tmpd"):
        assert (at(method) - at(method, mode_variance_fraction=1.0)).abs().max() > 0.1


def test_defaults_find_the_mode_that_is_measured() -> None:
    """mode_variance_fraction reduces the error of the weights of twelve modes by 40% or more."""
    mixture = GaussianMixture(random(12, 8, seed=8), 0.2)
    operator = Average((8,), 4)
    problem = Problem(operator, operator.apply(mixture.means[4:5])[0], 0.1)
    exact = mixture.posterior(operator, problem.measurement, 0.1).weights

    def error(method: str, **options: float) -> float:
        made = build_restorer(method, problem, **options)
        x = restore(VP(), mixture.denoiser(VP()), problem, made, n=100, steps=32, sampler="ddpm").x
        shares = mixture.posterior(operator, problem.measurement, 0.1).responsibilities(x).mean(0)
        return float((shares - exact).abs().sum() / 2)

    for method in ("pigdm", "tmpd"):
        assert error(method) < 0.6 * error(method, mode_variance_fraction=1.0)
    assert error("mmps", mode_variance_fraction=0.1) < 0.6 * error("mmps")
