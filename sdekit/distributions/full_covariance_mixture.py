"""Mixtures of Gaussians with full covariances: exact posteriors of linear inverse problems."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.inverse.operators import LinearOperator
from sdekit.processes import SDE, Denoiser, broadcast


class FullCovarianceMixture:
    """p(x_0) = sum_k weights_k N(means_k, covariances_k), in closed form at every t.

    means: (K, *shape). covariances: (K, d, d), positive definite, d numbers in a sample. weights: (K,), positive,
    normalised here. Held and computed in float64; results come in the dtype of x.
    """

    def __init__(self, means: Tensor, covariances: Tensor, weights: Tensor | None = None) -> None:
        self.shape = tuple(means.shape[1:])
        self.means = means.double().flatten(1)
        self.covariances = torch.as_tensor(covariances, dtype=torch.float64)
        k, d = self.means.shape
        if tuple(self.covariances.shape) != (k, d, d):
            raise InputError(f"FullMixture: covariances must be {(k, d, d)}, got {tuple(self.covariances.shape)}")
        weights = torch.ones(k) if weights is None else torch.as_tensor(weights)
        self.log_weights = (weights.double() / weights.double().sum()).log()

    @property
    def weights(self) -> Tensor:
        """(K,), summing to 1."""
        return self.log_weights.exp()

    def denoiser(self, sde: SDE) -> Denoiser:
        """The exact E[x_0 | x_t = x] under `sde`."""

        def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            z = x.flatten(1).double()
            wide = z.new_empty(len(z), 1, 1, 1)
            alpha, sigma = broadcast(sde.alpha(t), wide), broadcast(sde.sigma(t), wide)
            total = alpha**2 * self.covariances + sigma**2 * torch.eye(z.shape[1], dtype=torch.float64)
            factor = torch.linalg.cholesky(total)  # (1 or B, K, d, d)
            off = (z[:, None] - alpha.squeeze(-1) * self.means)[..., None]
            solved = torch.cholesky_solve(off, factor)
            means = self.means + (alpha * self.covariances @ solved)[..., 0]
            share: Tensor = (self.log_weights - 0.5 * ((off * solved).sum((-1, -2)) + _log_det(factor))).softmax(1)
            mean: Tensor = (share[:, None] @ means)[:, 0].view_as(x).to(x.dtype)
            return mean

        return denoise

    def responsibilities(self, x: Tensor) -> Tensor:
        """p(component | x_0 = x), (B, K), float64."""
        off = (x.double().flatten(1)[:, None] - self.means)[..., None]
        factor = torch.linalg.cholesky(self.covariances)
        white = torch.linalg.solve_triangular(factor, off, upper=False)
        shares: Tensor = (self.log_weights - 0.5 * (white.square().sum((-1, -2)) + _log_det(factor))).softmax(1)
        return shares

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n exact samples (n, *shape), float64."""
        generator = torch.Generator().manual_seed(seed)
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        factor = torch.linalg.cholesky(self.covariances)
        drawn: Tensor = (self.means[k] + (factor[k] @ z[..., None])[..., 0]).view(n, *self.shape)
        return drawn

    def posterior(self, operator: LinearOperator, measurement: Tensor, noise_std: float) -> FullCovarianceMixture:
        """p(x_0 | y) for y = A x_0 + noise_std z: a mixture again, with other weights, means and covariances.

        measurement: (*measured); noise_std > 0. Each component conditions as a Gaussian does; its weight is multiplied
        by N(y; A means_k, A covariances_k A^T + noise_std^2 I).
        """
        if not noise_std > 0:
            raise InputError(f"posterior: needs noise_std > 0, got {noise_std}")
        a = operator.matrix()
        cross = self.covariances @ a.T  # (K, d, m)
        total = a @ cross + noise_std**2 * torch.eye(len(a), dtype=torch.float64)
        factor = torch.linalg.cholesky(total)
        off = (operator.check(measurement).double().flatten() - self.means @ a.T)[..., None]
        solved = torch.cholesky_solve(off, factor)
        means = self.means + (cross @ solved)[..., 0]
        covariances = self.covariances - cross @ torch.cholesky_solve(cross.mT, factor)
        evidence = -0.5 * ((off * solved).sum((-1, -2)) + _log_det(factor) + len(a) * math.log(2 * math.pi))
        log_weights = (self.log_weights + evidence).log_softmax(0)
        made = FullCovarianceMixture(means.view(-1, *self.shape), (covariances + covariances.mT) / 2)
        made.log_weights = log_weights
        return made


def _log_det(factor: Tensor) -> Tensor:
    """Log-determinant of L L^T, for lower triangular L (..., d, d)."""
    found: Tensor = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return found
