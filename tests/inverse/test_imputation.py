"""Imputation: the drawn numbers follow the exact conditional distribution, row by row."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdekit import VP, GaussianMixture, InputError
from sdekit.distributions import FullCovarianceMixture
from sdekit.inverse import impute, row_seeds
from sdekit.processes import SDE, Denoiser, broadcast

MEAN = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
FACTOR = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.3, 0.4, 0.5]], dtype=torch.float64)
COVARIANCE = FACTOR @ FACTOR.T
NAN = float("nan")


def gaussian(sde: SDE) -> Denoiser:
    """Return the exact denoiser of N(MEAN, COVARIANCE)."""
    variances, vectors = torch.linalg.eigh(COVARIANCE)

    def denoise(x: Tensor, t: Tensor, y: object = None) -> Tensor:
        alpha, sigma = (broadcast(v, x) for v in (sde.alpha(t), sde.sigma(t)))
        gain = alpha * variances / (alpha**2 * variances + sigma**2)
        return MEAN + (gain * ((x - alpha * MEAN) @ vectors)) @ vectors.T

    return denoise


def conditional(known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the covariance of the unknown numbers of a row given its known numbers."""
    u = known.isnan()
    gain = COVARIANCE[u][:, ~u] @ torch.linalg.inv(COVARIANCE[~u][:, ~u])
    return MEAN[u] + gain @ (known - MEAN)[~u], COVARIANCE[u][:, u] - gain @ COVARIANCE[~u][:, u]


def test_rows_follow_the_conditional_gaussian() -> None:
    """Mean and standard deviation agree for rows with different known numbers in one batch."""
    rows = torch.tensor([[2.0, NAN, NAN], [NAN, 0.5, -0.6]], dtype=torch.float64)
    sde, n = VP(), 400
    drawn = impute(sde, gaussian(sde), rows.repeat(n, 1), dtype=torch.float64).x.view(n, 2, 3)
    for i, row in enumerate(rows):
        mean, covariance = conditional(row)
        unknown = drawn[:, i, row.isnan()]
        torch.testing.assert_close(unknown.mean(0), mean, atol=0.16, rtol=0)
        torch.testing.assert_close(unknown.std(0), covariance.diagonal().sqrt(), atol=0.12, rtol=0)
        assert torch.equal(drawn[0, i][~row.isnan()], row[~row.isnan()])


def test_standard_deviations_are_not_too_small() -> None:
    """The step of second order has no bias of several percent, as the step of DDPM has."""
    row = torch.tensor([[2.0, NAN, NAN]], dtype=torch.float64)
    drawn = impute(VP(), gaussian(VP()), row.repeat(2000, 1), dtype=torch.float64, steps=32).x[:, 1:]
    _, covariance = conditional(row[0])
    ratio = drawn.std(0) / covariance.diagonal().sqrt()
    assert bool((ratio > 0.96).all()) and bool((ratio < 1.12).all())


SHARES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
CENTRES = torch.tensor([[-0.7, 0.3], [0.4, -0.6], [1.1, 0.5]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[0.5, 0.3], [0.3, 0.4]], [[0.4, -0.2], [-0.2, 0.6]], [[0.3, 0.1], [0.1, 0.5]]], dtype=torch.float64
)


def table() -> FullCovarianceMixture:
    """Return two correlated numbers and a category of three values, as coordinates -1 and 1."""
    means = torch.cat([CENTRES, 2 * torch.eye(3, dtype=torch.float64) - 1], 1)
    covariances = torch.zeros(3, 5, 5, dtype=torch.float64)
    covariances[:, :2, :2] = COVARIANCES
    return FullCovarianceMixture(means, covariances, SHARES)


def test_cells_of_a_table_follow_the_exact_conditional() -> None:
    """Given numbers, a category has its probabilities; given a category, numbers have its mean and deviation."""
    number, category = [0.8, NAN, NAN, NAN, NAN], [NAN, NAN, -1.0, 1.0, -1.0]
    rows = torch.tensor([number, category], dtype=torch.float64)
    n = 400
    drawn = impute(VP(), table().denoiser(VP()), rows.repeat(n, 1), dtype=torch.float64).x.view(n, 2, 5)
    normal = torch.distributions.Normal(CENTRES[:, 0], COVARIANCES[:, 0, 0].sqrt())
    right = (SHARES.log() + normal.log_prob(torch.tensor(0.8, dtype=torch.float64))).softmax(0)
    found = torch.bincount(drawn[:, 0, 2:].argmax(1), minlength=3) / n
    torch.testing.assert_close(found.double(), right, atol=0.09, rtol=0)
    slope = COVARIANCES[:, 0, 1] / COVARIANCES[:, 0, 0]
    mean = (right * (CENTRES[:, 1] + slope * (0.8 - CENTRES[:, 0]))).sum()
    torch.testing.assert_close(drawn[:, 0, 1].mean(), mean, atol=0.12, rtol=0)
    torch.testing.assert_close(drawn[:, 1, :2].mean(0), CENTRES[1], atol=0.16, rtol=0)
    std = COVARIANCES[1].diagonal().sqrt()
    torch.testing.assert_close(drawn[:, 1, :2].std(0), std, atol=0.08, rtol=0)
    assert torch.equal(drawn[0, 1, 2:], rows[1, 2:])


def test_rows_have_seeds_of_their_own() -> None:
    """The seed of a row depends on the seed of the table and the number of the row alone."""
    seeds = row_seeds([0, 0, 1, 1], [0, 7, 0, 7])
    assert len(set(seeds)) == 4 and row_seeds([1], [7]) == seeds[3:]
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_nothing_known_gives_plain_samples() -> None:
    """A row of which nothing is known, beside a row of which everything is known, which is returned unchanged."""
    known = torch.tensor([[NAN, NAN, NAN], [1.0, 2.0, 3.0]], dtype=torch.float64)
    drawn = impute(VP(), gaussian(VP()), known, steps=4, dtype=torch.float64).x
    assert drawn[0].isfinite().all() and torch.equal(drawn[1], known[1])


def test_modes_have_their_posterior_weights() -> None:
    """A known number between two modes leaves both; their shares are the posterior weights."""
    mixture = GaussianMixture([[-1.0, -1.0], [1.0, 1.0]], 0.5, [0.5, 0.5])
    known = torch.tensor([[0.1, NAN]], dtype=torch.float64)
    drawn = impute(VP(), mixture.denoiser(VP()), known.repeat(300, 1), dtype=torch.float64).x
    right = 1 / (1 + torch.exp(torch.tensor(-2 * 0.1 / 0.25)))
    assert abs((drawn[:, 1] > 0).double().mean() - right) < 0.09


@pytest.mark.parametrize("method", ["tds", "repaint", "mmps"])
def test_a_row_depends_on_its_seed_alone(method: str) -> None:
    """Batches of any size give the same rows."""
    known = torch.tensor([[2.0, NAN, NAN], [NAN, 0.5, NAN], [NAN, 0.1, 0.4]], dtype=torch.float64)
    arguments = {"method": method, "seeds": [5, 3, 9], "dtype": torch.float64, "steps": 5}
    whole = impute(VP(), gaussian(VP()), known, **arguments)
    parts = impute(VP(), gaussian(VP()), known, batch_size=2, **arguments)
    torch.testing.assert_close(parts.x, whole.x)
    assert parts.seeds == (5, 3, 9)


def test_unsuitable_methods_and_seeds_are_refused() -> None:
    """A sampler with one mask for all rows, and another number of seeds than rows."""
    known = torch.tensor([[2.0, NAN, NAN]], dtype=torch.float64)
    with pytest.raises(InputError, match="cannot impute rows: choose"):
        impute(VP(), gaussian(VP()), known, method="ddrm", dtype=torch.float64)
    with pytest.raises(InputError, match="2 seeds for 1 rows"):
        impute(VP(), gaussian(VP()), known, seeds=[0, 1])


def test_progress_of_all_batches() -> None:
    """The progress of several batches is reported as one, with the network evaluations of all of them."""
    reports: list[tuple[int, int | None]] = []
    known = torch.tensor([[0.5, NAN, NAN]], dtype=torch.float64).repeat(5, 1)
    impute(
        VP(), gaussian(VP()), known, method="replacement", steps=4, batch_size=2, dtype=torch.float64,
        progress=lambda done, total: reports.append((done, total)),
    )  # fmt: skip
    assert [done for done, _ in reports] == list(range(1, 13)) and {total for _, total in reports} == {12}
