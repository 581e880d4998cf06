"""Coordinates in which the probability flow of every process is the same straight-line problem."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .denoiser import Denoiser
from .sde import SDE, as_time, broadcast

LARGEST_RHO = 1e3  # past this, x / alpha would lose float32's digits


@dataclass(frozen=True)
class FlowCoordinates:
    """y = x / (alpha + k sigma) and r = sigma / (alpha + k sigma) turn the probability flow into dy/dr = eps - k x_0.

    With k = 0 these are x / alpha and rho, EDM's variables (Karras et al. 2022, eq. 4). With k = 1, the default, they
    are the rectified flow's: bounded, finite where alpha is 0, and there an adaptive solver takes a third of the calls
    at the same error. One Euler step is DDIM for every k (Song, Meng & Ermon 2021, eq. 13).
    """

    sde: SDE
    k: float = 1.0

    @classmethod
    def edm(cls, sde: SDE) -> FlowCoordinates:
        """EDM's variables, k = 0, unless alpha vanishes at t_max."""
        return cls(sde, 0.0 if sde.rho(as_time(sde.t_max)) < LARGEST_RHO else 1.0)

    def scale(self, t: Tensor) -> Tensor:
        """alpha + k sigma, shape of t."""
        return self.sde.alpha(t) + self.k * self.sde.sigma(t)

    def r(self, t: Tensor) -> Tensor:
        """sigma / (alpha + k sigma), shape of t."""
        return self.sde.sigma(t) / self.scale(t)

    def r_at(self, rho: Tensor) -> Tensor:
        """`r` where sigma / alpha is rho, shape of rho, rho in [0, inf]."""
        return (rho.reciprocal() + self.k).reciprocal()

    def rho(self, r: Tensor) -> Tensor:
        """sigma / alpha where `r` is r, shape of r; infinite at r = 1 / k."""
        return r / (1 - self.k * r)

    def time(self, r: Tensor) -> Tensor:
        """Inverse of `r`."""
        return self.sde.time(self.rho(r)).clamp(self.sde.t_min, self.sde.t_max)

    def middle(self, t: Tensor, s: Tensor) -> Tensor:
        """The time half-way from t to s in log-SNR, shape of t; where rho_t is infinite, half-way in 1 / rho."""
        rho_s = self.sde.rho(s)
        rho = torch.where(self.sde.alpha(t) > 1e-12, (self.sde.rho(t) * rho_s).sqrt(), 2 * rho_s)
        return self.sde.time(rho).clamp(s, t)

    def velocity(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """dy/dr = eps - k x_0 at x (B, *), given the denoiser's x0."""
        eps = self.sde.eps(x, x0, t)
        return eps - self.k * x0 if self.k else eps

    def field(self, denoise: Denoiser, r: Tensor, y: Tensor) -> Tensor:
        """dy/dr at r () or (B,) and y (B, *)."""
        t = self.time(r)
        x = broadcast(self.scale(t), y) * y
        return self.velocity(x, denoise(x, t), t)
