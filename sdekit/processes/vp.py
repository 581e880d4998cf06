"""The variance-preserving SDEs of Song et al. 2021: VP and sub-VP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .process import Process, check_betas
from .sde import as_time


def _log_alpha(t: Tensor, beta_min: float, beta_max: float) -> Tensor:
    """log alpha = -1/2 int_0^t beta for beta(t) linear in t."""
    return -0.5 * t * (beta_min + 0.5 * t * (beta_max - beta_min))


def _time_of_log_alpha(log_alpha: Tensor, beta_min: float, beta_max: float) -> Tensor:
    """Inverse of `_log_alpha`: the root of a quadratic, in the form that loses no digits and allows a constant beta.

    2 c / (beta_min + sqrt(beta_min^2 + 2 (beta_max - beta_min) c)), divided by sqrt(c): 0 at c = 0 and inf at c = inf.
    """
    root = (-2 * log_alpha).sqrt()
    b = beta_min / root
    return 2 * root / (b + (b**2 + 2 * (beta_max - beta_min)).sqrt())


@final
@dataclass(frozen=True, kw_only=True)
class VP(Process):
    """Variance-preserving SDE: dx = -beta(t)/2 x dt + sqrt(beta(t)) dw, beta linear in t; alpha^2 + sigma^2 = 1.

    beta_min, beta_max: beta at t = 0 and at t = 1, 0 < beta_min <= beta_max. t_min, t_max: the times in use.
    Source: Song et al. 2021, eq. 11 and 33; Ho et al. 2020 in the limit of many steps.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_betas("VP", self.beta_min, self.beta_max)

    def alpha(self, t: Tensor) -> Tensor:
        return _log_alpha(as_time(t), self.beta_min, self.beta_max).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * _log_alpha(as_time(t), self.beta_min, self.beta_max))).sqrt()

    def time(self, rho: Tensor) -> Tensor:
        return _time_of_log_alpha(-0.5 * torch.log1p(as_time(rho) ** 2), self.beta_min, self.beta_max)


@final
@dataclass(frozen=True, kw_only=True)
class SubVP(Process):
    """Sub-VP SDE: VP's drift with a smaller diffusion, so that sigma = 1 - alpha^2 (a standard deviation).

    beta_min, beta_max: beta at t = 0 and at t = 1, 0 < beta_min <= beta_max. t_min, t_max: the times in use.
    Source: Song et al. 2021, eq. 12 and 29.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_betas("SubVP", self.beta_min, self.beta_max)

    def alpha(self, t: Tensor) -> Tensor:
        return _log_alpha(as_time(t), self.beta_min, self.beta_max).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(2 * _log_alpha(as_time(t), self.beta_min, self.beta_max))

    def time(self, rho: Tensor) -> Tensor:
        # rho = 1/alpha - alpha = 2 sinh(-log alpha)
        return _time_of_log_alpha(-torch.asinh(as_time(rho) / 2), self.beta_min, self.beta_max)
