"""Gaussian mixtures, with an exact denoiser, score, density and samples at every t."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdekit.arguments import check_count, check_labels, check_rows, to_float64
from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, as_time, broadcast, check_process, check_time_shape
from sdekit.sampling import MOST_SAMPLES, check_seeds

if TYPE_CHECKING:
    from sdekit.inverse.operators import LinearOperator

    from .full_covariance_mixture import FullCovarianceMixture


class GaussianMixture:
    """Gaussian mixture p(x_0) = sum_k weights_k N(means_k, diag(stds_k^2)), in closed form at every t.

    x_t is a Gaussian mixture too. Computations are in float64; results have the dtype of x. A condition y (B,) is the
    number of a component, and -1 is the null condition.

    Arguments:
        means: Means of the components, (K, *shape).
        stds: Standard deviations, above 0: a number, (K,), or any shape that broadcasts to (K, *shape).
        weights: Weights, (K,), positive; they are normalised. None for equal weights.
    Raises:
        InputError: If the shapes do not fit, or a number is not finite or not positive.
    """

    def __init__(self, means: Tensor, stds: Tensor | float, weights: Tensor | None = None) -> None:
        means = to_float64("GaussianMixture: means", means, finite=False)
        stds = to_float64("GaussianMixture: stds", stds, finite=False)
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
        weights = torch.ones(len(means)) if weights is None else weights
        weights = to_float64("GaussianMixture: weights", weights, finite=False)
        if not means.isfinite().all():
            raise InputError("GaussianMixture: means must be finite")
        if weights.shape != (len(means),) or not _positive(weights) or not _positive(stds):
            raise InputError("GaussianMixture: weights must be (K,) and positive, stds positive, both finite")
        self.shape = tuple(means.shape[1:])
        self.means = means.flatten(1)
        self.variances = stds.flatten(1) ** 2
        self.log_weights = (weights.double() / weights.double().sum()).log()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.means)} components, shape={self.shape})"

    @property
    def std(self) -> float:
        """Standard deviation of the data around their mean, root mean square over coordinates."""
        weights = self.log_weights.exp()[:, None]
        offsets = self.means - (weights * self.means).sum(0)
        return float((weights * (self.variances + offsets**2)).sum(0).mean().sqrt())

    def denoiser(self, sde: SDE) -> Denoiser:
        """Return the exact denoiser E[x_0 | x_t = x, y] for a process."""
        check_process("GaussianMixture.denoiser", sde)

        def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            alpha, sigma = self._scales(sde, t, x)
            z = x.flatten(1).to(self.means.device).double()
            difference, total = self._difference(z, alpha, sigma)
            scaled = difference / total
            means = torch.addcmul(self.means, alpha * self.variances, scaled)
            weights = self._log_joint(difference * scaled, total, y).softmax(1)
            return (weights.unsqueeze(1) @ means).squeeze(1).view(x.shape).to(x)

        denoise.data_std = self.std  # type: ignore[attr-defined]
        return denoise

    def score(self, x: Tensor, sde: SDE, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        """Return the score grad log p_t(x | y), in the shape and dtype of x, for t () or (B,) and y (B,) or None."""
        check_process("GaussianMixture.score", sde)
        t = as_time(t)
        return sde.score(x, self.denoiser(sde)(x, t, y), t)

    def log_prob(
        self, x: Tensor, sde: SDE | None = None, t: Tensor | float | None = None, y: Tensor | None = None
    ) -> Tensor:
        """Return log p_t(x | y) in nats, (B,), in the dtype of x.

        Arguments:
            x: Samples, (B, *shape).
            sde: Process; None, together with t, for the density of x_0.
            t: Times, () or (B,), or None.
            y: Components, (B,), or None.
        Returns:
            Log-densities, (B,).
        Raises:
            InputError: If only one of sde and t is given, or x has another shape.
        """
        if (sde is None) != (t is None):
            raise InputError("GaussianMixture.log_prob: give sde and t, or neither")
        if sde is not None:
            check_process("GaussianMixture.log_prob", sde)
        check_rows("GaussianMixture: x", x, self.shape)
        one = torch.ones((), dtype=torch.float64)
        alpha, sigma = (one, 0 * one) if sde is None or t is None else self._scales(sde, as_time(t), x)
        difference, total = self._difference(x.flatten(1).to(self.means.device).double(), alpha, sigma)
        log_joint = self._log_joint(difference * difference / total, total, y)
        return (log_joint.logsumexp(1) - 0.5 * difference.shape[2] * math.log(2 * math.pi)).to(x)

    def sample(
        self, n: int, seed: int = 0, sde: SDE | None = None, t: Tensor | float | None = None, y: int | None = None
    ) -> Tensor:
        """Draw n exact samples of x_0, or of x_t if sde and t are given.

        Arguments:
            n: Number of samples.
            seed: Seed, in [0, 2^32).
            sde: Process, or None together with t.
            t: Time, () or (n,), or None.
            y: Component of all samples; None or -1 for all components.
        Returns:
            Samples, (n, *shape), float64.
        Raises:
            InputError: If only one of sde and t is given, or y is not a component.
        """
        if (sde is None) != (t is None):
            raise InputError("GaussianMixture.sample: give sde and t, or neither")
        n = check_count("GaussianMixture.sample: n", n, least=1, most=MOST_SAMPLES)
        if sde is not None:
            check_process("GaussianMixture.sample", sde)
        if y is not None:
            y = check_count("GaussianMixture.sample: y", y, least=-1)
            if y >= len(self.means):
                raise InputError(f"GaussianMixture.sample: y must be a component, 0 to {len(self.means) - 1}, got {y}")
        if t is not None:
            check_time_shape("GaussianMixture.sample", as_time(t), n)
        generator = torch.Generator().manual_seed(*check_seeds([seed]))
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=generator)
        k = k if y is None or y < 0 else torch.full_like(k, y)
        noise = torch.randn(2, n, self.means.shape[1], generator=generator, dtype=torch.float64)
        x = self.means[k] + self.variances[k].sqrt() * noise[0]
        x = x if sde is None or t is None else sde.perturb(x, as_time(t), noise[1])
        return x.view(n, *self.shape)

    def full(self) -> FullCovarianceMixture:
        """Return the same distribution with its covariances as matrices."""
        from .full_covariance_mixture import FullCovarianceMixture

        return FullCovarianceMixture(
            self.means.view(-1, *self.shape), self.variances.diag_embed(), self.log_weights.exp()
        )

    def posterior(self, operator: LinearOperator, measurement: Tensor, noise_std: float) -> FullCovarianceMixture:
        """Return the exact posterior p(x_0 | y) for y = A x_0 + noise_std z; see `FullCovarianceMixture.posterior`."""
        return self.full().posterior(operator, measurement, noise_std)

    def _scales(self, sde: SDE, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma, each () or (B, 1, 1), which broadcast against (B, K, d)."""
        check_rows("GaussianMixture: x", x, self.shape)
        check_time_shape("GaussianMixture", t, len(x))
        device = self.means.device
        like_x = torch.empty(len(x), 1, 1, dtype=torch.float64, device=device)
        return broadcast(sde.alpha(t), like_x), broadcast(sde.sigma(t), like_x)

    def _difference(self, z: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, d) - alpha mu_k, (B, K, d), and its variances alpha^2 var_k + sigma^2, (K, d) or (B, K, d)."""
        return z.unsqueeze(1) - alpha * self.means, alpha * alpha * self.variances + sigma * sigma

    def _log_joint(self, square: Tensor, variances: Tensor, y: Tensor | None) -> Tensor:
        """Return log(weights_k N(difference; 0, variances)) + constant, (B, K); square is difference^2 / variances."""
        log_prob = -0.5 * (square.sum(-1) + variances.log().sum(-1))
        if y is None:
            return log_prob + self.log_weights
        check_labels("GaussianMixture: y", y, len(log_prob), len(self.means))
        y = y.to(self.means.device)
        is_null = (y < 0)[:, None]
        chosen = torch.nn.functional.one_hot(y.long().clamp(min=0), len(self.means)).bool()
        return torch.where(is_null, log_prob + self.log_weights, log_prob.masked_fill(~chosen, -math.inf))


def _positive(z: Tensor) -> bool:
    return bool(((z > 0) & z.isfinite()).all())
