"""Problems whose probability flow is known exactly: mixtures, starts at t_max and where the flow leads them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sdekit import EDM, VP, GaussianMixture, RectifiedFlow
from sdekit.processes import SDE, Denoiser, as_time

FAR, NEAR = 1e6, 1e-4  # rho: beyond the first the start is noise alone, below the second x_0 is the denoiser's


class Flow:
    """A process and what is exact on it: the base of each problem."""

    sde: SDE
    exact: Tensor  # (n, *shape), where the flow leads the starts

    @cached_property
    def top(self) -> float:
        """rho at t_max, finite."""
        return min(float(self.sde.rho(as_time(self.sde.t_max))), FAR)

    def error(self, x0: Tensor) -> float:
        """Root mean square over starts and coordinates."""
        return float((x0.double() - self.exact).square().mean().sqrt())


@dataclass(frozen=True)
class Problem(Flow):
    """A mixture on a process; x (n, *shape) at t_max, float64."""

    name: str
    mixture: GaussianMixture
    sde: SDE
    starts: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.mixture.shape

    @property
    def options(self) -> dict[str, float]:
        """Of `auto`: its defaults."""
        return {}

    @property
    def denoiser(self) -> Denoiser:
        """The exact one, on the process."""
        return self.mixture.denoiser(self.sde)

    @cached_property
    def x(self) -> Tensor:
        """Starts, drawn from the exact distribution at t_max."""
        return self.mixture.sample(self.starts, 7, self.sde, self.sde.t_max)

    @cached_property
    def x_bar(self) -> Tensor:
        """The starts as x / alpha at rho = top. Where alpha is 0, the mean of the data and top times the noise."""
        alpha, sigma = (float(scale(as_time(self.sde.t_max))) for scale in (self.sde.alpha, self.sde.sigma))
        if self.top < FAR:
            return self.x / alpha
        weights = self.mixture.log_weights.exp()
        return (weights @ self.mixture.means).view(1, *self.mixture.shape) + self.top / sigma * self.x

    def denoise(self, x_bar: Tensor, rho: float) -> Tensor:
        """E[x_0 | x / alpha = x_bar] at noise level rho."""
        level = EDM(sigma_min=NEAR / 2, sigma_max=2 * FAR)
        return self.mixture.denoiser(level)(x_bar, as_time(rho))

    @cached_property
    def exact(self) -> Tensor:
        """x_0 at the end of the flow from x: DOP853 in log rho at 1e-10."""
        from scipy.integrate import solve_ivp

        def slope(log_rho: float, flat: np.ndarray) -> np.ndarray:
            x = torch.from_numpy(flat).view_as(self.x_bar)
            found: np.ndarray = (x - self.denoise(x, math.exp(log_rho))).numpy().ravel()
            return found

        span = (math.log(self.top), math.log(NEAR))
        path = solve_ivp(slope, span, self.x_bar.numpy().ravel(), method="DOP853", rtol=1e-10, atol=1e-10)
        return self.denoise(torch.from_numpy(path.y[:, -1].copy()).view_as(self.x_bar), NEAR)


def ring() -> GaussianMixture:
    """Eight Gaussians on a circle, d = 2, unit variance a coordinate."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    unit = 1 / math.sqrt(8.16)
    return GaussianMixture(4 * unit * torch.stack([angle.cos(), angle.sin()], 1), 0.4 * unit)


def digits() -> GaussianMixture:
    """Ten diagonal Gaussians, d = 64: the class means of scikit-learn's digits, half their spread and 0.1 more."""
    images, labels = _digits()
    classes = [images[labels == k] for k in range(10)]
    stds = torch.stack([(0.01 + c.var(0) / 4).sqrt() for c in classes])
    return GaussianMixture(torch.stack([c.mean(0) for c in classes]), stds)


def lattice() -> GaussianMixture:
    """Nine narrow Gaussians of unequal weight on a bent 3 x 3 lattice, d = 2."""
    i, j = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    means = torch.stack([i + 0.2 * j - 1.2, j - 0.3 * i * j - 0.7], -1).view(9, 2).double()
    return GaussianMixture(means, 0.1 + 0.03 * torch.arange(9), torch.arange(9) % 4 + 1)


def oblong() -> GaussianMixture:
    """Six Gaussians, d = 16, whose standard deviations differ by a factor of ten between the axes."""
    g = torch.Generator().manual_seed(3)
    means = 0.8 * torch.randn(6, 16, generator=g, dtype=torch.float64)
    return GaussianMixture(means, 0.06 * 10 ** torch.rand(6, 16, generator=g, dtype=torch.float64))


def pupils() -> GaussianMixture:
    """Forty single digits, d = 64, each with a standard deviation of 0.25: much like what a network learns."""
    images, _ = _digits()
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(4))[:40]
    return GaussianMixture(images[chosen], 0.25)


def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float64) / 8 - 1, torch.tensor(labels)


def problems(starts: int) -> dict[str, Problem]:
    """Every problem by its name."""
    found = [
        Problem("ring", ring(), VP(), starts),
        Problem("digits", digits(), VP(), starts),
        Problem("lattice", lattice(), VP(), starts),
        Problem("oblong", oblong(), VP(), starts),
        Problem("pupils", pupils(), VP(), starts),
        Problem("ring-edm", ring(), EDM(), starts),
        Problem("digits-flow", digits(), RectifiedFlow(), starts),
    ]
    return {problem.name: problem for problem in found}
