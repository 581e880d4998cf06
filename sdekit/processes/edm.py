"""The process of EDM, in which time is the noise level."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from sdekit.arguments import check_fields
from sdekit.errors import InputError

from .sde import SDE, as_time


@final
@dataclass(frozen=True, kw_only=True)
class EDM(SDE):
    """Variance-exploding process of EDM: alpha = 1, sigma = t, so that time is the noise level.

    Arguments:
        sigma_min: Smallest noise level in use, above 0; also t_min.
        sigma_max: Largest noise level in use, above sigma_min; also t_max.
    Source:
        Karras et al. 2022, Table 1 (EDM).
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    t_min: float = field(init=False, repr=False)
    t_max: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "t_min", self.sigma_min)
        object.__setattr__(self, "t_max", self.sigma_max)
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise InputError(
                f"EDM: needs 0 < sigma_min < sigma_max, got sigma_min={self.sigma_min}, sigma_max={self.sigma_max}"
            )

    def alpha(self, t: Tensor) -> Tensor:
        return 1 + 0 * as_time(t)  # keeps t in the graph, so that f is 0

    def sigma(self, t: Tensor) -> Tensor:
        return as_time(t)

    def time(self, rho: Tensor) -> Tensor:
        return as_time(rho)
