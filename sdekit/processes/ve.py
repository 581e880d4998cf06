"""The variance-exploding SDE of Song et al. 2021."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from torch import Tensor

from sdekit.errors import InputError

from .sde import SDE, as_time, check_times


@final
@dataclass(frozen=True, kw_only=True)
class VE(SDE):
    """Variance-exploding SDE: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t.

    Arguments:
        sigma_min: sigma at t = 0, above 0.
        sigma_max: sigma at t = 1, above sigma_min.
        t_min: Smallest time in use, at least 0.
        t_max: Largest time in use.
    Source:
        Song et al. 2021, eq. 9 and 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    t_min: float = 0.0
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_times(self, least=0.0)
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise InputError(
                f"VE: needs 0 < sigma_min < sigma_max, got sigma_min={self.sigma_min}, sigma_max={self.sigma_max}"
            )

    def alpha(self, t: Tensor) -> Tensor:
        return 1 + 0 * as_time(t)  # keeps t in the graph, so that f is 0

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * (as_time(t) * math.log(self.sigma_max / self.sigma_min)).exp()

    def time(self, rho: Tensor) -> Tensor:
        return (as_time(rho) / self.sigma_min).log() / math.log(self.sigma_max / self.sigma_min)
