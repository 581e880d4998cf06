"""The variance-preserving SDEs of Song et al. 2021: VP and sub-VP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sdekit.errors import InputError

from .sde import SDE, as_time, check_times


@final
@dataclass(frozen=True, kw_only=True)
class VP(SDE):
    """Variance-preserving SDE: dx = -beta(t)/2 x dt + sqrt(beta(t)) dw with beta linear in t.

    alpha^2 + sigma^2 = 1.

    Arguments:
        beta_min: beta at t = 0, above 0.
        beta_max: beta at t = 1, at least beta_min.
        t_min: Smallest time in use, at least 1e-9.
        t_max: Largest time in use.
    Source:
        Song et al. 2021, eq. 11 and 33; Ho et al. 2020 in the limit of many steps.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_times(self)
        _check_betas(self)

    def alpha(self, t: Tensor) -> Tensor:
        return _log_alpha(as_time(t), self.beta_min, self.beta_max).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * _log_alpha(as_time(t), self.beta_min, self.beta_max))).sqrt()

    def time(self, rho: Tensor) -> Tensor:
        return _time_of_log_alpha(-0.5 * torch.log1p(as_time(rho) ** 2), self.beta_min, self.beta_max)


@final
@dataclass(frozen=True, kw_only=True)
class SubVP(SDE):
    """Sub-VP SDE: the drift of VP with a smaller diffusion, so that sigma = 1 - alpha^2.

    Arguments:
        beta_min: beta at t = 0, above 0.
        beta_max: beta at t = 1, at least beta_min.
        t_min: Smallest time in use, at least 1e-9.
        t_max: Largest time in use.
    Source:
        Song et al. 2021, eq. 12 and 29.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_times(self)
        _check_betas(self)

    def alpha(self, t: Tensor) -> Tensor:
        return _log_alpha(as_time(t), self.beta_min, self.beta_max).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(2 * _log_alpha(as_time(t), self.beta_min, self.beta_max))

    def time(self, rho: Tensor) -> Tensor:
        # rho = 1/alpha - alpha = 2 sinh(-log alpha)
        return _time_of_log_alpha(-torch.asinh(as_time(rho) / 2), self.beta_min, self.beta_max)


def _check_betas(sde: VP | SubVP) -> None:
    """Raise InputError unless 0 < beta_min <= beta_max < inf."""
    if not 0 < sde.beta_min <= sde.beta_max < math.inf:
        raise InputError(
            f"{type(sde).__name__}: needs 0 < beta_min <= beta_max, got beta_min={sde.beta_min}, "
            f"beta_max={sde.beta_max}"
        )


def _log_alpha(t: Tensor, beta_min: float, beta_max: float) -> Tensor:
    """Return log alpha = -1/2 int_0^t beta, with beta linear in t."""
    return -0.5 * t * (beta_min + 0.5 * t * (beta_max - beta_min))


def _time_of_log_alpha(log_alpha: Tensor, beta_min: float, beta_max: float) -> Tensor:
    """Return the inverse of `_log_alpha`, with c = -2 log alpha.

    t is the root 2 c / (beta_min + sqrt(beta_min^2 + 2 (beta_max - beta_min) c)) of a quadratic equation. This form
    loses no digits and allows a constant beta. Numerator and denominator are divided by sqrt(c), so that t is 0 at
    c = 0 and infinite at c = inf.
    """
    root = (-2 * log_alpha).sqrt()
    b = beta_min / root
    return 2 * root / (b + (b**2 + 2 * (beta_max - beta_min)).sqrt())
