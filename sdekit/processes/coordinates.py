"""Coordinates in which the probability flow of every process is the same ordinary differential equation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .denoiser import Denoiser
from .sde import LARGEST_RHO, SDE, as_time, broadcast


@dataclass(frozen=True)
class FlowCoordinates:
    """Coordinates y = x / (alpha + k sigma) and r = sigma / (alpha + k sigma) of the probability flow.

    In these coordinates, the probability flow of every process is dy/dr = eps - k x_0. With k = 0, the coordinates are
    x / alpha and rho, the variables of EDM (Karras et al. 2022, eq. 4). With k = 1 they are the coordinates of the
    rectified flow: r is bounded, and both are finite where alpha is 0; an adaptive solver then needs a third of the
    evaluations for the same error. One Euler step is a DDIM step for every k (Song, Meng & Ermon 2021, eq. 13).

    Arguments:
        sde: The process.
        k: Weight of sigma in the scale, at least 0.
    """

    sde: SDE
    k: float = 1.0

    @classmethod
    def edm(cls, sde: SDE) -> FlowCoordinates:
        """Create EDM's coordinates (k = 0), or coordinates with k = 1 if alpha vanishes at t_max."""
        return cls(sde, 0.0 if sde.rho(as_time(sde.t_max)) < LARGEST_RHO else 1.0)

    def scale(self, t: Tensor) -> Tensor:
        """Return alpha + k sigma. Shape of t."""
        return self.sde.alpha(t) + self.k * self.sde.sigma(t)

    def r(self, t: Tensor) -> Tensor:
        """Return r = sigma / (alpha + k sigma). Shape of t."""
        return self.sde.sigma(t) / self.scale(t)

    def r_at(self, rho: Tensor) -> Tensor:
        """Return r at the noise level rho, 1 / (1 / rho + k), for rho in [0, inf]. Shape of rho."""
        return (rho.reciprocal() + self.k).reciprocal()

    def rho(self, r: Tensor) -> Tensor:
        """Return the noise level at r, the inverse of `r_at`; infinite at r = 1 / k. Shape of r."""
        return r / (1 - self.k * r)

    def time(self, r: Tensor) -> Tensor:
        """Return the time at r, the inverse of `r`, clamped to [t_min, t_max]. Shape of r."""
        return self.sde.time(self.rho(r)).clamp(self.sde.t_min, self.sde.t_max)

    def middle(self, t: Tensor, s: Tensor) -> Tensor:
        """Return the time half-way from t to s in log-SNR, or half-way in 1 / rho if rho_t is infinite. Shape of t."""
        rho_s = self.sde.rho(s)
        rho = torch.where(self.sde.alpha(t) > 1e-12, (self.sde.rho(t) * rho_s).sqrt(), 2 * rho_s)
        return self.sde.time(rho).clamp(s, t)

    def velocity(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """Return dy/dr = eps - k x_0 at x (B, *), given the denoised x0 (B, *)."""
        eps = self.sde.eps(x, x0, t)
        return eps - self.k * x0 if self.k else eps

    def field(self, denoise: Denoiser, r: Tensor, y: Tensor) -> Tensor:
        """Return dy/dr at r () or (B,) and y (B, *), with one evaluation of the denoiser."""
        t = self.time(r)
        x0 = denoise(broadcast(self.scale(t), y) * y, t)
        return (y - x0) / broadcast(r, y)  # eps - k x_0 = (x - (alpha + k sigma) x_0) / sigma
