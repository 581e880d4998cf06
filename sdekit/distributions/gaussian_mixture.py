"""Gaussian mixtures: the distributions whose denoiser, score, density and samples are exact at every t."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, as_time, broadcast
from sdekit.sampling import check_seeds

if TYPE_CHECKING:
    from sdekit.inverse.operators import LinearOperator

    from .full_covariance_mixture import FullCovarianceMixture


class GaussianMixture:
    """p(x_0) = sum_k weights_k N(means_k, diag(stds_k^2)): x_t is again a mixture, so all is in closed form.

    means: (K, *shape). stds: a number, (K,) one for each component, or anything that broadcasts to (K, *shape).
    weights: (K,), positive, normalised here; None for equal ones. All is held and computed in float64; results
    come in the dtype of x. A condition y (B,) of component numbers restricts to that component.
    """

    def __init__(self, means: Tensor, stds: Tensor | float, weights: Tensor | None = None) -> None:
        means = torch.as_tensor(means, dtype=torch.float64)
        stds = torch.as_tensor(stds, dtype=torch.float64)
        if means.ndim < 2 or len(means) == 0:
            raise InputError(f"GaussianMixture: means must be (K, *shape) with K >= 1, got {tuple(means.shape)}")
        if stds.ndim == 1:
            stds = stds.view(-1, *[1] * (means.ndim - 1))
        try:
            stds = stds.expand_as(means)
        except RuntimeError:
            raise InputError(
                f"GaussianMixture: stds {tuple(stds.shape)} do not fit means {tuple(means.shape)}: give a number, "
                "(K,) or (K, *shape)"
            ) from None
        weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights)
        if not means.isfinite().all():
            raise InputError("GaussianMixture: means must be finite")
        if weights.shape != (len(means),) or not _positive(weights) or not _positive(stds):
            raise InputError("GaussianMixture: weights must be (K,) and positive, stds positive, both finite")
        self.shape = tuple(means.shape[1:])
        self.means = means.flatten(1)
        self.variances = stds.flatten(1) ** 2
        self.log_weights = (weights.double() / weights.double().sum()).log()

    def denoiser(self, sde: SDE) -> Denoiser:
        """The exact E[x_0 | x_t = x, y] of this mixture under `sde`."""

        def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            alpha, sigma = self._scales(sde, t, x)
            z = x.flatten(1).double()
            off, total = self._off(z, alpha, sigma)
            part = off / total
            means = torch.addcmul(self.means, alpha * self.variances, part)
            weights = self._log_joint(off * part, total, y).softmax(1)
            return (weights.unsqueeze(1) @ means).squeeze(1).view_as(x).to(x.dtype)

        return denoise

    def score(self, x: Tensor, sde: SDE, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        """grad log p_t(x | y), shape and dtype of x."""
        t = as_time(t)
        return sde.score(x, self.denoiser(sde)(x, t, y), t)

    def log_prob(
        self, x: Tensor, sde: SDE | None = None, t: Tensor | float | None = None, y: Tensor | None = None
    ) -> Tensor:
        """log p_t(x | y) in nats, (B,), dtype of x; the density of the data where no sde and t are given."""
        if (sde is None) != (t is None):
            raise InputError("GaussianMixture.log_prob: give sde and t, or neither")
        self._check_shape(x)
        one = torch.ones((), dtype=torch.float64)
        alpha, sigma = (one, 0 * one) if sde is None or t is None else self._scales(sde, as_time(t), x)
        off, total = self._off(x.flatten(1).double(), alpha, sigma)
        log_joint = self._log_joint(off * off / total, total, y)
        return (log_joint.logsumexp(1) - 0.5 * off.shape[2] * math.log(2 * math.pi)).to(x.dtype)

    def sample(
        self, n: int, seed: int = 0, sde: SDE | None = None, t: Tensor | float | None = None, y: int | None = None
    ) -> Tensor:
        """n exact samples (n, *shape), float64, of x_0, or of x_t where sde and t are given; y: of one component; -1
        is no condition, as elsewhere."""
        if (sde is None) != (t is None):
            raise InputError("GaussianMixture.sample: give sde and t, or neither")
        generator = torch.Generator().manual_seed(*check_seeds([seed]))
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        if y is not None and not -1 <= y < len(self.means):
            raise InputError(f"GaussianMixture.sample: y must be a component, 0 to {len(self.means) - 1}, got {y}")
        k = k if y is None or y < 0 else torch.full_like(k, y)
        noise = torch.randn(2, n, self.means.shape[1], generator=generator, dtype=torch.float64)
        x = self.means[k] + self.variances[k].sqrt() * noise[0]
        x = x if sde is None or t is None else sde.perturb(x, as_time(t), noise[1])
        return x.view(n, *self.shape)

    def full(self) -> FullCovarianceMixture:
        """The same distribution, with its covariances as matrices: the one that `posterior` conditions."""
        from .full_covariance_mixture import FullCovarianceMixture

        return FullCovarianceMixture(
            self.means.view(-1, *self.shape), self.variances.diag_embed(), self.log_weights.exp()
        )

    def posterior(self, operator: LinearOperator, measurement: Tensor, noise_std: float) -> FullCovarianceMixture:
        """p(x_0 | y) for y = A x_0 + noise_std z, exactly: see `FullMixture.posterior`."""
        return self.full().posterior(operator, measurement, noise_std)

    def _check_shape(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.shape:
            raise InputError(
                f"GaussianMixture: x has shape {tuple(x.shape)}, expected (B, {', '.join(map(str, self.shape))})"
            )

    def _scales(self, sde: SDE, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma, each () or (B, 1, 1), to meet (B, K, d)."""
        self._check_shape(x)
        device = self.means.device
        like_x = x.new_empty((len(x), 1, 1), dtype=torch.float64, device=device)
        return broadcast(sde.alpha(t), like_x), broadcast(sde.sigma(t), like_x)

    def _off(self, z: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, d) less alpha mu_k, (B, K, d), and its variances alpha^2 var_k + sigma^2, (K, d) or (B, K, d)."""
        return z.unsqueeze(1) - alpha * self.means, alpha * alpha * self.variances + sigma * sigma

    def _log_joint(self, square: Tensor, variances: Tensor, y: Tensor | None) -> Tensor:
        """log(weights_k N(off; 0, variances)), (B, K), but for the constant; square: off^2 / variances, (B, K, d)."""
        log_prob = -0.5 * (square.sum(-1) + variances.log().sum(-1))
        if y is None:
            return log_prob + self.log_weights
        free = (y < 0)[:, None]  # rows of no condition
        chosen = torch.nn.functional.one_hot(y.long().clamp(min=0), len(self.means)).bool()
        return torch.where(free, log_prob + self.log_weights, log_prob.masked_fill(~chosen, -math.inf))


def _positive(z: Tensor) -> bool:
    return bool(((z > 0) & z.isfinite()).all())
