"""The metrics agree with scipy, scikit-learn, pandas and torchmetrics, and obey the laws of metrics."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import torch
from scipy import stats
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sdekit import registry
from sdekit.errors import InputError
from sdekit.evaluation import traits_of
from sdekit.registry import build

METRICS = [name for (kind, name), entry in registry.load_plugins().entries.items()
           if kind == "metric" and entry.package == "sdekit"]  # fmt: skip


def points(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    """Draw n points of a Gaussian with d dimensions."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


X, Y = points(40, 3, 0, 0.4), points(50, 3, 1)


def test_energy() -> None:
    """The energy distance is the U-statistic of scipy's distances; in one dimension scipy has the V-statistic."""
    n, m, value = len(X), len(Y), build("metric", "energy")(X, Y)
    within = [cdist(z, z).sum() / (len(z) * (len(z) - 1)) for z in (X, Y)]
    assert value == pytest.approx(2 * cdist(X, Y).mean() - sum(within), abs=1e-6)
    x, y = X[:, :1], Y[:, :1]
    diagonal = sum(cdist(z, z).mean() / (len(z) - 1) for z in (x, y))
    v_statistic = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    assert build("metric", "energy")(x, y) == pytest.approx(v_statistic - diagonal, abs=1e-6) and n != m


def test_sliced_w2() -> None:
    """In one dimension the distance is the optimal assignment; quantiles give nearly the same for other numbers."""
    x, y = X[:, :1], Y[:40, :1]
    cost = cdist(x, y) ** 2
    rows, columns = linear_sum_assignment(cost)
    exact = cost[rows, columns].mean() ** 0.5
    metric = build("metric", "sliced-w2")
    assert metric(x, y) == pytest.approx(exact, abs=1e-6)
    assert metric(x.repeat(2, 1), y) == pytest.approx(exact, rel=0.1)


def test_power_spectrum() -> None:
    """The value depends on frequencies and not on phases; a factor c of all sequences gives |c^2 - 1|."""
    metric = build("metric", "power-spectrum")
    x = torch.tensor(np.random.default_rng(0).normal(size=(20, 2, 64)) * [[1.0], [5.0]])
    assert metric(x.roll(7, -1), x) == pytest.approx(0, abs=1e-12)
    assert metric(1.1 * x, x) == pytest.approx(0.21)
    u = torch.arange(64) / 64
    slow, fast = (torch.sin(2 * torch.pi * f * u)[None, None] for f in (3, 9))
    assert metric(slow, fast) == pytest.approx(2)


def test_mmd() -> None:
    """The squared MMD is that of scikit-learn's kernel, with the median distance of the reference as bandwidth."""
    distances = cdist(Y, Y)[~np.eye(len(Y), dtype=bool)]
    gamma = 1 / (2 * float(torch.tensor(distances).median()) ** 2)
    xx, yy, xy = (rbf_kernel(a, b, gamma) for a, b in ((X, X), (Y, Y), (X, Y)))
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    assert build("metric", "mmd")(X, Y) == pytest.approx(sum(within) - 2 * xy.mean(), abs=1e-6)
    with pytest.raises(InputError, match="bandwidth must be above 0, got 0"):
        build("metric", "mmd", bandwidth=0.0)(X, Y)


@pytest.mark.parametrize(("n", "d"), [(40, 3), (10, 30)])
def test_frechet(n: int, d: int) -> None:
    """The Frechet distance is the formula with scipy's square root, also for fewer items than features."""
    x, y = points(n, d, 0, 0.3).numpy(), points(n + 5, d, 1).numpy()
    s, t = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert build("metric", "frechet")(*map(torch.tensor, (x, y))) == pytest.approx(
        expected, abs=1e-4 if n < d else 1e-6
    )


def test_kernel() -> None:
    """The kernel distance is that of scikit-learn's polynomial kernel."""
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, gamma=1 / 3, coef0=1) for a, b in ((X, X), (Y, Y), (X, Y)))
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    assert build("metric", "kernel")(X, Y) == pytest.approx(sum(within) - 2 * xy.mean(), abs=1e-6)


@pytest.mark.slow
def test_fid_and_kid_of_torchmetrics() -> None:
    """The distances of features are those of torchmetrics' FID and KID, for one subset with all features."""
    fid, kid = (pytest.importorskip(f"torchmetrics.image.{name}") for name in ("fid", "kid"))
    expected = fid._compute_fid(X.mean(0), X.T.cov(), Y.mean(0), Y.T.cov())
    assert build("metric", "frechet")(X, Y) == pytest.approx(float(expected), abs=1e-6)
    assert build("metric", "kernel")(X, Y[:40]) == pytest.approx(float(kid.poly_mmd(X, Y[:40])), abs=1e-6)


def test_shares() -> None:
    """Precision, recall, density and coverage agree with scikit-learn's nearest neighbours."""

    def radius(z: Tensor) -> np.ndarray:
        found: np.ndarray = NearestNeighbors(n_neighbors=6).fit(z.numpy()).kneighbors(z.numpy())[0][:, 5]
        return found

    inside = cdist(X, Y) <= radius(Y)
    expected = {
        "precision": inside.any(1).mean(),
        "recall": (cdist(Y, X) <= radius(X)).any(1).mean(),
        "density": inside.sum() / (5 * len(X)),
        "coverage": inside.any(0).mean(),
    }
    for name, value in expected.items():
        assert build("metric", name)(X, Y) == pytest.approx(value, abs=1e-6), name
    with pytest.raises(InputError, match="k must be from 1 to 49 for 50 items, got 50"):
        build("metric", "precision", k=50)(X, Y)


def test_columns() -> None:
    """The statistics of columns are scipy's and pandas', and a constant column has no correlation."""
    expected = np.mean([stats.ks_2samp(X[:, i], Y[:, i]).statistic for i in range(3)])
    assert build("metric", "ks")(X, Y) == pytest.approx(expected, abs=1e-6)
    one, other = (pandas.DataFrame(z.numpy()).corr().to_numpy() for z in (X, Y))
    above = np.triu_indices(3, 1)
    assert build("metric", "correlations")(X, Y) == pytest.approx(np.abs(one - other)[above].mean(), abs=1e-6)
    constant = X.clone()
    constant[:, 0] = 1.0
    assert 0 < build("metric", "correlations")(constant, Y) < 1


def test_the_classifier_recognises_other_distributions() -> None:
    """The accuracy is about 1/2 for equal distributions and 1 for disjoint ones, and does not depend on the order."""
    metric = build("metric", "classifier-test", trees=20)
    assert metric(X, Y) == metric(X.flip(0), Y.flip(0))
    assert 0.3 < metric(points(60, 3, 2), points(60, 3, 3)) < 0.7 and metric(X + 9, Y) == 1.0


def test_traits() -> None:
    """Distances are better if lower, shares if higher, and the classifier should be right in half of all cases."""
    better = {name: traits_of(build("metric", name)).better for name in METRICS}
    assert better["energy"] == "lower" and better["recall"] == "higher" and better["classifier-test"] == 0.5
