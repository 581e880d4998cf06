"""Imputation: the drawn numbers follow the exact conditional distribution, row by row."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdekit import VP, GaussianMixture, InputError
from sdekit.inverse import impute
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
    drawn = impute(sde, gaussian(sde), rows.repeat(n, 1), dtype=torch.float64).view(n, 2, 3)
    for i, row in enumerate(rows):
        mean, covariance = conditional(row)
        unknown = drawn[:, i, row.isnan()]
        torch.testing.assert_close(unknown.mean(0), mean, atol=0.16, rtol=0)
        torch.testing.assert_close(unknown.std(0), covariance.diagonal().sqrt(), atol=0.12, rtol=0)
        assert torch.equal(drawn[0, i][~row.isnan()], row[~row.isnan()])


def test_nothing_known_gives_plain_samples() -> None:
    """A row of which nothing is known, beside a row of which everything is known, which is returned unchanged."""
    known = torch.tensor([[NAN, NAN, NAN], [1.0, 2.0, 3.0]], dtype=torch.float64)
    drawn = impute(VP(), gaussian(VP()), known, steps=4, dtype=torch.float64)
    assert drawn[0].isfinite().all() and torch.equal(drawn[1], known[1])


def test_modes_have_their_posterior_weights() -> None:
    """A known number between two modes leaves both; their shares are the posterior weights."""
    mixture = GaussianMixture([[-1.0, -1.0], [1.0, 1.0]], 0.5, [0.5, 0.5])
    known = torch.tensor([[0.1, NAN]], dtype=torch.float64)
    drawn = impute(VP(), mixture.denoiser(VP()), known.repeat(300, 1), dtype=torch.float64)
    right = 1 / (1 + torch.exp(torch.tensor(-2 * 0.1 / 0.25)))
    assert abs((drawn[:, 1] > 0).double().mean() - right) < 0.09


@pytest.mark.parametrize("method", ["tds", "repaint", "mmps"])
def test_a_row_depends_on_its_seed_alone(method: str) -> None:
    """Batches of any size give the same rows."""
    known = torch.tensor([[2.0, NAN, NAN], [NAN, 0.5, NAN], [NAN, 0.1, 0.4]], dtype=torch.float64)
    arguments = {"method": method, "seeds": [5, 3, 9], "dtype": torch.float64, "steps": 5}
    whole = impute(VP(), gaussian(VP()), known, **arguments)
    torch.testing.assert_close(impute(VP(), gaussian(VP()), known, batch_size=2, **arguments), whole)


def test_unsuitable_methods_and_seeds_are_refused() -> None:
    """A sampler with one mask for all rows, and another number of seeds than rows."""
    known = torch.tensor([[2.0, NAN, NAN]], dtype=torch.float64)
    with pytest.raises(InputError, match="cannot impute rows: choose"):
        impute(VP(), gaussian(VP()), known, method="ddrm", dtype=torch.float64)
    with pytest.raises(InputError, match="2 seeds for 1 rows"):
        impute(VP(), gaussian(VP()), known, seeds=[0, 1])
