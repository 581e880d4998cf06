"""Laws of the maps between columns and standard normal numbers."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest, lognorm, norm, t, uniform

from sdekit.data.quantiles import curve_log_volume, curve_to_data, curve_to_model, fit_curve

RANDOM = np.random.default_rng(0)
N = 2000
COLUMNS = {
    "normal": RANDOM.normal(5, 2, N),
    "heavy tails": RANDOM.standard_t(1, N),
    "many zeros": np.where(RANDOM.random(N) < 0.6, 0.0, RANDOM.gamma(0.8, 6, N)),
    "two modes": np.where(RANDOM.random(N) < 0.5, RANDOM.normal(-3, 0.05, N), RANDOM.normal(2, 0.3, N)),
    "two values": RANDOM.integers(0, 2, N).astype(float),
    "few rows": RANDOM.integers(0, 3, 20).astype(float),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_values_return_exactly(name: str) -> None:
    """`curve_to_data` inverts `curve_to_model`, at any position in an atom."""
    values = COLUMNS[name]
    curve = fit_curve(values)
    for positions in (0.5, RANDOM.random(len(values))):
        again = curve_to_data(curve_to_model(values, curve, positions), curve)
        assert np.abs(again - values).max() <= 1e-9 * np.ptp(values)


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "few rows"])
def test_the_columns_become_standard_normal(name: str) -> None:
    """With random positions, z has the standard normal distribution, and knots increase."""
    values = COLUMNS[name]
    z, knots = curve = fit_curve(values)
    assert (np.diff(z) > 0).all() and (np.diff(knots) >= 0).all()
    assert kstest(curve_to_model(values, curve, RANDOM.random(N)), "norm").statistic < 0.03


def test_densities_change_by_the_slope() -> None:
    """log_volume is the derivative of z, and the density of a value integrates to 1."""
    curve = fit_curve(COLUMNS["normal"])
    values = np.linspace(1.0, 9.0, 4001) + 1e-5
    slope = (curve_to_model(values + 1e-7, curve) - curve_to_model(values - 1e-7, curve)) / 2e-7
    assert np.median(np.abs(np.log(slope) - curve_log_volume(values, curve))) < 1e-5
    density = norm.pdf(curve_to_model(values, curve)) * np.exp(curve_log_volume(values, curve))
    inside = norm.cdf(curve_to_model(values[[0, -1]], curve))
    assert np.trapezoid(density, values) == pytest.approx(inside[1] - inside[0], abs=5e-3)


def test_atoms_have_their_probability() -> None:
    """Under the standard normal density, the result for an atom is the logarithm of its share of the rows."""
    values = COLUMNS["many zeros"]
    curve = fit_curve(values)
    z = curve_to_model(np.zeros(1), curve)
    log_prob = norm.logpdf(z) + curve_log_volume(np.zeros(1), curve)
    assert np.exp(log_prob[0]) == pytest.approx((values == 0).mean(), abs=1e-3)


@pytest.mark.parametrize("law", [norm(), lognorm(1), t(3), uniform()], ids=["normal", "lognormal", "t", "uniform"])
def test_the_density_of_new_values(law: Any) -> None:
    """With 300 rows, log-densities of new values are too low by about 1 / (2 LEAST_ROWS) on average."""
    values, new = (law.rvs(n, random_state=np.random.default_rng(n)) for n in (300, 4000))
    curve = fit_curve(values)
    log_density = norm.logpdf(curve_to_model(new, curve)) + curve_log_volume(new, curve)
    assert -0.02 < np.mean(law.logpdf(new) - log_density) < 0.15
