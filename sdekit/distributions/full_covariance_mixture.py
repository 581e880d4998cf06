"""Gaussian mixtures with full covariances, and their exact posteriors in linear inverse problems."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdekit.arguments import check_count, check_instance, check_number, check_rows, to_float64
from sdekit.errors import InputError
from sdekit.inverse.operators import LinearOperator
from sdekit.processes import SDE, Denoiser, broadcast, check_process
from sdekit.sampling import MOST_SAMPLES, check_seeds


class FullCovarianceMixture:
    """Gaussian mixture p(x_0) = sum_k weights_k N(means_k, covariances_k), in closed form at every t.

    Computations are in float64; the denoiser returns the dtype of x.

    Arguments:
        means: Means of the components, (K, *shape).
        covariances: Covariances, (K, d, d), positive definite, for samples of d numbers.
        weights: Weights, (K,), positive; they are normalised. None for equal weights.
    Raises:
        InputError: If the shapes do not fit, a number is not finite, or a covariance is not positive definite.
    """

    def __init__(self, means: Tensor, covariances: Tensor, weights: Tensor | None = None) -> None:
        means = to_float64("FullCovarianceMixture: means", means)
        if means.ndim < 2 or not means.numel():
            raise InputError(f"FullCovarianceMixture: means must be (K, *shape) with K >= 1, got {tuple(means.shape)}")
        self.shape, self.means = tuple(means.shape[1:]), means.flatten(1)
        self.covariances = to_float64("FullCovarianceMixture: covariances", covariances)
        k, d = self.means.shape
        if tuple(self.covariances.shape) != (k, d, d):
            raise InputError(
                f"FullCovarianceMixture: covariances must be {(k, d, d)}, got {tuple(self.covariances.shape)}"
            )
        eigenvalues = torch.linalg.eigvalsh(self.covariances)
        symmetric = torch.allclose(self.covariances, self.covariances.mT)
        if not symmetric or bool((eigenvalues < -1e-8 * eigenvalues.abs().amax().clamp(min=1e-300)).any()):
            raise InputError("FullCovarianceMixture: covariances must be symmetric and positive definite")
        weights = torch.ones(k) if weights is None else to_float64("FullCovarianceMixture: weights", weights)
        if weights.shape != (k,) or not bool((weights > 0).all()):
            raise InputError(f"FullCovarianceMixture: weights must be ({k},) and positive, got {tuple(weights.shape)}")
        self.log_weights = (weights.double() / weights.double().sum()).log()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.means)} components, shape={self.shape})"

    @property
    def weights(self) -> Tensor:
        """Weights of the components, (K,), with the sum 1."""
        return self.log_weights.exp()

    @property
    def std(self) -> float:
        """Standard deviation of the data around their mean, root mean square over coordinates."""
        offsets = self.means - self.weights @ self.means
        variances = self.covariances.diagonal(dim1=1, dim2=2) + offsets**2
        return float((self.weights @ variances).mean().sqrt())

    def denoiser(self, sde: SDE) -> Denoiser:
        """Return the exact denoiser E[x_0 | x_t = x] for a process; it ignores conditions."""
        check_process("FullCovarianceMixture.denoiser", sde)

        def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            check_rows("FullCovarianceMixture: x", x, self.shape)
            z = x.flatten(1).to(self.means.device).double()
            like = z.new_empty(len(z), 1, 1, 1)
            alpha, sigma = broadcast(sde.alpha(t), like), broadcast(sde.sigma(t), like)
            total = alpha**2 * self.covariances + sigma**2 * torch.eye(z.shape[1], dtype=torch.float64)
            factor = torch.linalg.cholesky(total)  # (1 or B, K, d, d)
            difference = (z[:, None] - alpha.squeeze(-1) * self.means)[..., None]
            solved = torch.cholesky_solve(difference, factor)
            means = self.means + (alpha * self.covariances @ solved)[..., 0]
            share: Tensor = (self.log_weights - 0.5 * ((difference * solved).sum((-1, -2)) + _log_det(factor))).softmax(
                1
            )
            mean: Tensor = (share[:, None] @ means)[:, 0].view(x.shape).to(x)
            return mean

        denoise.data_std = self.std  # type: ignore[attr-defined]
        return denoise

    def responsibilities(self, x: Tensor) -> Tensor:
        """Return p(component | x_0 = x), (B, K), float64, for x (B, *shape)."""
        check_rows("FullCovarianceMixture: x", x, self.shape)
        difference = (x.double().flatten(1)[:, None] - self.means)[..., None]
        factor = torch.linalg.cholesky(self.covariances)
        white = torch.linalg.solve_triangular(factor, difference, upper=False)
        shares: Tensor = (self.log_weights - 0.5 * (white.square().sum((-1, -2)) + _log_det(factor))).softmax(1)
        return shares

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw n exact samples, (n, *shape), float64."""
        n = check_count("FullCovarianceMixture.sample: n", n, least=1, most=MOST_SAMPLES)
        generator = torch.Generator().manual_seed(*check_seeds([seed]))
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        factor = torch.linalg.cholesky(self.covariances)
        samples: Tensor = (self.means[k] + (factor[k] @ z[..., None])[..., 0]).view(n, *self.shape)
        return samples

    def posterior(self, operator: LinearOperator, measurement: Tensor, noise_std: float) -> FullCovarianceMixture:
        """Return the posterior p(x_0 | y) for y = A x_0 + noise_std z, which is a mixture too.

        Each component is conditioned like a single Gaussian, and its weight is multiplied by
        N(y; A means_k, A covariances_k A^T + noise_std^2 I).

        Arguments:
            operator: Linear operator A.
            measurement: The measurement y, (*measured).
            noise_std: Standard deviation of the noise, above 0.
        Returns:
            The posterior.
        Raises:
            InputError: If noise_std is not positive, or the measurement does not fit the operator.
        """
        noise_std = check_number("posterior needs noise_std > 0: noise_std", noise_std, above=0)
        check_instance("posterior: operator", operator, LinearOperator, "a linear operator")
        a = operator.matrix()
        cross = self.covariances @ a.T  # (K, d, m)
        total = a @ cross + noise_std**2 * torch.eye(len(a), dtype=torch.float64)
        factor = torch.linalg.cholesky(total)
        difference = (operator.check(measurement).double().flatten() - self.means @ a.T)[..., None]
        solved = torch.cholesky_solve(difference, factor)
        means = self.means + (cross @ solved)[..., 0]
        covariances = self.covariances - cross @ torch.cholesky_solve(cross.mT, factor)
        evidence = -0.5 * ((difference * solved).sum((-1, -2)) + _log_det(factor) + len(a) * math.log(2 * math.pi))
        log_weights = (self.log_weights + evidence).log_softmax(0)
        posterior = FullCovarianceMixture(means.view(-1, *self.shape), (covariances + covariances.mT) / 2)
        posterior.log_weights = log_weights  # directly, because exp would lose small weights
        return posterior


def _log_det(factor: Tensor) -> Tensor:
    """Return the log-determinant of L L^T, for lower triangular L (..., d, d)."""
    log_det: Tensor = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return log_det
