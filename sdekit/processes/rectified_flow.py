"""Rectified flow: straight lines between data and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from sdekit.errors import InputError

from .sde import SDE, as_time, check_times


@final
@dataclass(frozen=True, kw_only=True)
class RectifiedFlow(SDE):
    """Rectified flow, straight lines between data and noise: alpha = 1 - t, sigma = t.

    alpha is 0 at t = 1.

    Arguments:
        t_min: Smallest time in use, at least 1e-9.
        t_max: Largest time in use, at most 1.
    Source:
        Liu et al. 2023; Lipman et al. 2023 (conditional optimal-transport paths).
    """

    t_min: float = 1e-3
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_times(self)
        if self.t_max > 1:
            raise InputError(f"RectifiedFlow: needs t_max <= 1, got t_max={self.t_max}")

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - as_time(t)

    def sigma(self, t: Tensor) -> Tensor:
        return as_time(t)

    def time(self, rho: Tensor) -> Tensor:
        return 1 / (1 + 1 / as_time(rho))  # 0 at rho = 0 and 1 at rho = inf
