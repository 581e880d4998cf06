"""Problems whose probability flow is known exactly: mixtures, starting points at t_max and the ends of their paths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sdekit import EDM, VP, GaussianMixture, RectifiedFlow
from sdekit.evaluation import Statistic, average_error
from sdekit.processes import SDE, Denoiser, as_time

FAR, NEAR = 1e6, 1e-4  # rho: above FAR the start is pure noise, below NEAR the denoiser returns x_0


class Flow:
    """Base of the problems: a process and the exact ends of its paths."""

    sde: SDE
    exact: Tensor  # (n, *shape), ends of the paths of the flow

    @cached_property
    def top(self) -> float:
        """rho at t_max, at most FAR."""
        return min(float(self.sde.rho(as_time(self.sde.t_max))), FAR)

    def error(self, x0: Tensor) -> dict[Statistic, float]:
        """Return the error over starting points: root mean square, median and trimmed mean."""
        return average_error(x0.double(), self.exact)


@dataclass(frozen=True)
class Problem(Flow):
    """A mixture on a process; x (n, *shape) at t_max, float64."""

    name: str
    mixture: GaussianMixture
    sde: SDE
    starts: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.mixture.shape

    @property
    def options(self) -> dict[str, float]:
        """Options of `auto`: its defaults."""
        return {}

    @property
    def denoiser(self) -> Denoiser:
        """Exact denoiser of the mixture."""
        return self.mixture.denoiser(self.sde)

    @cached_property
    def x(self) -> Tensor:
        """Starting points, drawn from the exact distribution at t_max."""
        return self.mixture.sample(self.starts, 7, self.sde, self.sde.t_max)

    @cached_property
    def x_bar(self) -> Tensor:
        """Starting points as x / alpha at rho = top. If alpha is 0, the mean of the data plus top times the noise."""
        alpha, sigma = (float(scale(as_time(self.sde.t_max))) for scale in (self.sde.alpha, self.sde.sigma))
        if self.top < FAR:
            return self.x / alpha
        weights = self.mixture.log_weights.exp()
        return (weights @ self.mixture.means).view(1, *self.mixture.shape) + self.top / sigma * self.x

    def denoise(self, x_bar: Tensor, rho: float) -> Tensor:
        """Return E[x_0 | x / alpha = x_bar] at noise level rho."""
        level = EDM(sigma_min=NEAR / 2, sigma_max=2 * FAR)
        return self.mixture.denoiser(level)(x_bar, as_time(rho))

    @cached_property
    def exact(self) -> Tensor:
        """x_0 at the end of the flow from x, solved by DOP853 in log rho with a tolerance of 1e-10."""
        from scipy.integrate import solve_ivp

        def slope(log_rho: float, flat: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(flat).view_as(self.x_bar)
            derivative: np.ndarray = (x - self.denoise(x, math.exp(log_rho))).numpy().ravel()
            return derivative

        span = (math.log(self.top), math.log(NEAR))
        path = solve_ivp(slope, span, self.x_bar.numpy().ravel(), method="DOP853", rtol=1e-10, atol=1e-10)
        return self.denoise(torch.from_numpy(path.y[:, -1].copy()).view_as(self.x_bar), NEAR)


def ring() -> GaussianMixture:
    """Return eight Gaussians on a circle, d = 2, with unit variance of each coordinate."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    unit = 1 / math.sqrt(8.16)
    return GaussianMixture(4 * unit * torch.stack([angle.cos(), angle.sin()], 1), 0.4 * unit)


def digits() -> GaussianMixture:
    """Return ten diagonal Gaussians, d = 64: class means of scikit-learn's digits, variances 0.01 + variance / 4."""
    images, labels = _digits()
    classes = [images[labels == k] for k in range(10)]
    stds = torch.stack([(0.01 + c.var(0) / 4).sqrt() for c in classes])
    return GaussianMixture(torch.stack([c.mean(0) for c in classes]), stds)


def lattice() -> GaussianMixture:
    """Return nine narrow Gaussians of unequal weights on a bent 3 x 3 lattice, d = 2."""
    i, j = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    means = torch.stack([i + 0.2 * j - 1.2, j - 0.3 * i * j - 0.7], -1).view(9, 2).double()
    return GaussianMixture(means, 0.1 + 0.03 * torch.arange(9), torch.arange(9) % 4 + 1)


def oblong() -> GaussianMixture:
    """Return six Gaussians, d = 16, whose standard deviations differ by up to a factor of ten between axes."""
    g = torch.Generator().manual_seed(3)
    means = 0.8 * torch.randn(6, 16, generator=g, dtype=torch.float64)
    return GaussianMixture(means, 0.06 * 10 ** torch.rand(6, 16, generator=g, dtype=torch.float64))


def pupils() -> GaussianMixture:
    """Return Gaussians of standard deviation 0.25 around forty single digits, d = 64, as a network might learn them."""
    images, _ = _digits()
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(4))[:40]
    return GaussianMixture(images[chosen], 0.25)


def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float64) / 8 - 1, torch.tensor(labels)


def problems(starts: int) -> dict[str, Problem]:
    """Return all problems by name."""
    every = [
        Problem("ring", ring(), VP(), starts),
        Problem("digits", digits(), VP(), starts),
        Problem("lattice", lattice(), VP(), starts),
        Problem("oblong", oblong(), VP(), starts),
        Problem("pupils", pupils(), VP(), starts),
        Problem("ring-edm", ring(), EDM(), starts),
        Problem("digits-flow", digits(), RectifiedFlow(), starts),
    ]
    return {problem.name: problem for problem in every}
