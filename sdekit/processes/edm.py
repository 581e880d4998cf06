"""The process of EDM, in which time is the noise level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from .process import Process, check_sigmas
from .sde import as_time


@final
@dataclass(frozen=True, kw_only=True)
class EDM(Process):
    """alpha = 1, sigma = t: time is the noise level.

    sigma_min, sigma_max: the noise levels in use, 0 < sigma_min < sigma_max. Source: Karras et al. 2022, Table 1 (EDM).
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    t_min: float = field(init=False, repr=False)
    t_max: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "t_min", self.sigma_min)
        object.__setattr__(self, "t_max", self.sigma_max)
        check_sigmas("EDM", self.sigma_min, self.sigma_max)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 + 0 * as_time(t)

    def sigma(self, t: Tensor) -> Tensor:
        return as_time(t)

    def time(self, rho: Tensor) -> Tensor:
        return as_time(rho)
