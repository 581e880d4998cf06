"""Base class of the built-in processes: checks of their parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from sdekit.errors import InputError

from .sde import SDE


@dataclass(frozen=True, kw_only=True)
class Process(SDE):
    """Checks that hold for every process."""

    _least: ClassVar[float] = 1e-9  # of t_min: a score is divided by sigma, which is 0 at t = 0

    def __post_init__(self) -> None:
        if not self._least <= self.t_min < self.t_max < math.inf:
            raise InputError(
                f"{type(self).__name__}: needs {self._least:g} <= t_min < t_max, got t_min={self.t_min}, "
                f"t_max={self.t_max}"
            )


def check_betas(name: str, beta_min: float, beta_max: float) -> None:
    """Raise InputError unless 0 < beta_min <= beta_max."""
    if not 0 < beta_min <= beta_max < math.inf:
        raise InputError(f"{name}: needs 0 < beta_min <= beta_max, got beta_min={beta_min}, beta_max={beta_max}")


def check_sigmas(name: str, sigma_min: float, sigma_max: float) -> None:
    """Raise InputError unless 0 < sigma_min < sigma_max."""
    if not 0 < sigma_min < sigma_max < math.inf:
        raise InputError(f"{name}: needs 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}")
