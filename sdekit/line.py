"""Coordinates in which the probability flow of every process is the same straight-line problem."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .sde import SDE, Denoise, as_time, like

LARGEST_RHO = 1e3  # past this, x / alpha would lose float32's digits


@dataclass(frozen=True)
class Line:
    """y = x / (alpha + k sigma) and r = sigma / (alpha + k sigma) turn the probability flow into dy/dr = eps - k x_0.

    With k = 0 these are x / alpha and rho, EDM's variables (Karras et al. 2022, eq. 4). With k = 1, the default, they
    are the rectified flow's: bounded, finite where alpha is 0, and there an adaptive solver takes a third of the calls
    at the same error. One Euler step is DDIM for every k (Song, Meng & Ermon 2021, eq. 13).
    """

    sde: SDE
    k: float = 1.0

    @classmethod
    def edm(cls, sde: SDE) -> Line:
        """EDM's variables, k = 0, unless alpha vanishes at t_max."""
        return cls(sde, 0.0 if sde.rho(as_time(sde.t_max)) < LARGEST_RHO else 1.0)

    def scale(self, t: Tensor) -> Tensor:
        """alpha + k sigma, shape of t."""
        return self.sde.alpha(t) + self.k * self.sde.sigma(t)

    def r(self, t: Tensor) -> Tensor:
        """sigma / (alpha + k sigma), shape of t."""
        return self.sde.sigma(t) / self.scale(t)

    def time(self, r: Tensor) -> Tensor:
        """Inverse of `r`."""
        return self.sde.time(r / (1 - self.k * r)).clamp(self.sde.t_min, self.sde.t_max)

    def velocity(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """dy/dr = eps - k x_0 at x (B, *), given the denoiser's x0."""
        eps = self.sde.eps(x, x0, t)
        return eps - self.k * x0 if self.k else eps

    def field(self, denoise: Denoise, r: Tensor, y: Tensor) -> Tensor:
        """dy/dr at r () or (B,) and y (B, *)."""
        t = self.time(r)
        x = like(self.scale(t), y) * y
        return self.velocity(x, denoise(x, t), t)
