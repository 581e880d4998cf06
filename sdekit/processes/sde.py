"""A diffusion process is two functions of time; the SDE's coefficients, the score and the SNR follow from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor


def as_time(t: Tensor | float) -> Tensor:
    """t as a float64 tensor: a number becomes 0-dim on the CPU, where coefficients cost no GPU kernel."""
    return torch.as_tensor(t, dtype=torch.float64)


def broadcast(coefficient: Tensor, x: Tensor) -> Tensor:
    """A coefficient () or (B,) made to multiply x (B, *): (B,) gets trailing axes and x's dtype and place."""
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.to(x).view(-1, *[1] * (x.ndim - 1))


class SDE(ABC):
    """dx = f(t) x dt + g(t) dw, so that x_t = alpha(t) x_0 + sigma(t) eps with eps ~ N(0, I), t_min <= t <= t_max.

    A process defines `alpha`, `sigma` and `time`; all else is derived. sigma(t_min) is above 0: a score is divided by
    it. Times and coefficients are float64; a time is a number, a 0-dim tensor or (B,), one for each sample.
    Source: Song et al. 2021 (eq. 5), in the notation of Kingma et al. 2021.
    """

    t_min: float
    t_max: float
    published: ClassVar[str] = ""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Signal scale, shape of t, in [0, 1]; 1 at the data."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Noise scale, shape of t, >= 0 and increasing relative to alpha."""

    @abstractmethod
    def time(self, rho: Tensor) -> Tensor:
        """The t with sigma(t) / alpha(t) = rho: inverse of `rho`, in closed form, shape of rho, rho in [0, inf]."""

    def rho(self, t: Tensor) -> Tensor:
        """Noise-to-signal ratio sigma / alpha, increasing in t (EDM's sigma); log-SNR is -2 log rho. inf at alpha 0."""
        return self.sigma(t) / self.alpha(t)

    def f(self, t: Tensor) -> Tensor:
        """Drift coefficient d/dt log alpha, shape of t (Kingma et al. 2021, eq. 2 and below)."""
        return _derivative(lambda u: self.alpha(u).log(), t)

    def g(self, t: Tensor) -> Tensor:
        """Diffusion coefficient sqrt(2 sigma^2 d/dt log rho), shape of t: Kingma et al. 2021's g^2, in log rho."""
        return self.sigma(t) * (2 * _derivative(lambda u: self.sigma(u).log() - self.alpha(u).log(), t)).sqrt()

    def perturb(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha x_0 + sigma eps, (B, *), for t () or (B,)."""
        return broadcast(self.alpha(t), x0) * x0 + broadcast(self.sigma(t), x0) * eps

    def eps(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise that leads from x0 to x: (x - alpha x0) / sigma, (B, *)."""
        return (x - broadcast(self.alpha(t), x) * x0) / broadcast(self.sigma(t), x)

    def score(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """grad log p_t(x) = (alpha E[x_0 | x] - x) / sigma^2, (B, *), given x0 = E[x_0 | x] (Tweedie's formula)."""
        return (broadcast(self.alpha(t), x) * x0 - x) / broadcast(self.sigma(t), x) ** 2

    def prior(self, noise: Tensor) -> Tensor:
        """x at t_max from standard normal noise (B, *): N(0, sigma(t_max)^2), what is left where alpha has vanished."""
        return self.sigma(as_time(self.t_max)) * noise

    def prior_log_prob(self, x: Tensor) -> Tensor:
        """Log-density of the prior at x (B, *), in nats, (B,)."""
        sigma = self.sigma(as_time(self.t_max)).to(x)
        z = x.flatten(1) / sigma
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1) - z.shape[1] * sigma.log()


def _derivative(function: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """d function / dt at each t, shape of t."""
    with torch.inference_mode(False), torch.enable_grad():
        u = as_time(t).detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(u).sum(), u)
    return slope
