"""The variance-preserving process of the cosine schedule."""

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
class Cosine(SDE):
    """Variance-preserving process of the cosine schedule: alpha = cos(theta(t)) / cos(theta(0)).

    theta(t) = (t + s) / (1 + s) pi / 2, so that alpha is 0 at t = 1.

    Arguments:
        s: Offset that prevents the steps near the data from becoming too small, in [0, 1).
        t_min: Smallest time in use, at least 1e-9.
        t_max: Largest time in use, at most 1.
    Source:
        Nichol & Dhariwal 2021, eq. 17, in continuous time.
    """

    s: float = 0.008
    t_min: float = 1e-4
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_times(self)
        if not 0 <= self.s < 1 or self.t_max > 1:
            raise InputError(f"Cosine: needs 0 <= s < 1 and t_max <= 1, got s={self.s}, t_max={self.t_max}")

    def _theta(self, t: Tensor | float) -> Tensor:
        return (as_time(t) + self.s) / (1 + self.s) * (math.pi / 2)

    def alpha(self, t: Tensor) -> Tensor:
        return self._theta(t).cos() / self._theta(0.0).cos()

    def sigma(self, t: Tensor) -> Tensor:
        # 1 - alpha^2 = sin(theta - theta0) sin(theta + theta0) / cos^2 theta0 loses no digits near t = 0
        theta, theta0 = self._theta(t), self._theta(0.0)
        return ((theta - theta0).sin() * (theta + theta0).sin()).sqrt() / theta0.cos()

    def time(self, rho: Tensor) -> Tensor:
        rho, theta0 = as_time(rho), self._theta(0.0)
        # tan^2 theta = (rho^2 + sin^2 theta0) / cos^2 theta0; near theta0 its difference keeps the digits of rho
        theta = torch.atan2((rho**2 + theta0.sin() ** 2).sqrt(), theta0.cos())
        near = torch.asin(
            (rho**2 * theta0.cos() ** 2 / ((1 + rho**2) * (theta + theta0).sin()).clamp(min=1e-300)).clamp(max=1.0)
        )
        delta = torch.where(rho < 1, near, theta - theta0)
        return delta * (1 + self.s) / (math.pi / 2)
