"""DDPM's table of betas as a process in continuous time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from sdekit.errors import InputError

from .process import Process
from .sde import as_time


@final
@dataclass(frozen=True)
class TabulatedVP(Process):
    """DDPM's table in continuous time: alpha^2 is prod_{j<=i} (1 - beta_j) at t = i/N, log alpha linear between.

    At the knots the ancestral step is Ho et al.'s posterior exactly. betas: (N,), each in (0, 1).
    Source: Ho et al. 2020, section 2. `t_min` is the first knot.
    """

    betas: tuple[float, ...]
    t_min: float = field(init=False, repr=False)
    t_max: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(float(b) for b in self.betas))
        if len(self.betas) < 2 or not all(0 < b < 1 for b in self.betas):
            raise InputError("TabulatedVP: needs at least two betas, each between 0 and 1")
        object.__setattr__(self, "t_min", 1 / len(self.betas))
        object.__setattr__(self, "t_max", 1.0)

    @classmethod
    def linear(cls, *, n: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02) -> TabulatedVP:
        """n betas from beta_min to beta_max, linear (Ho et al. 2020, section 4).

        n: how many, at least 2. beta_min, beta_max: the first and the last of them, between 0 and 1.
        """
        return cls(tuple(torch.linspace(beta_min, beta_max, max(n, 1), dtype=torch.float64).tolist()))

    @classmethod
    def cosine(cls, *, n: int = 1000, s: float = 0.008, beta_max: float = 0.999) -> TabulatedVP:
        """n betas of the cosine schedule, each at most beta_max (Nichol & Dhariwal 2021, eq. 17).

        n: how many, at least 2. s: keeps the first ones from becoming too small. beta_max: between 0 and 1.
        """
        theta = (torch.arange(max(n, 0) + 1, dtype=torch.float64) / n + s) / (1 + s) * (math.pi / 2)
        alpha2 = theta.cos() ** 2
        return cls(tuple((1 - alpha2[1:] / alpha2[:-1]).clamp(max=beta_max).tolist()))

    @cached_property
    def _knots(self) -> Tensor:
        """log alpha at t = 0, 1/N, ..., 1, (N + 1,)."""
        log_alpha = 0.5 * torch.tensor(self.betas, dtype=torch.float64).neg().log1p().cumsum(0)
        return torch.cat([torch.zeros(1, dtype=torch.float64), log_alpha])

    def _log_alpha(self, t: Tensor) -> Tensor:
        n, knots = len(self.betas), self._knots
        u = as_time(t) * n
        # at a knot, the interval below it: f there is that of the step which leads to the knot
        i = (u - 1e-9).floor().clamp(0, n - 1).long().cpu()
        lower, upper = knots[i].to(u.device), knots[i + 1].to(u.device)
        return lower + (u - i.to(u.device)) * (upper - lower)

    def alpha(self, t: Tensor) -> Tensor:
        return self._log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * self._log_alpha(t))).sqrt()

    def time(self, rho: Tensor) -> Tensor:
        n, knots = len(self.betas), self._knots
        log_alpha = -0.5 * torch.log1p(as_time(rho) ** 2)
        i = (torch.searchsorted(-knots, -log_alpha.cpu()) - 1).clamp(0, n - 1)
        lower, upper = knots[i].to(log_alpha.device), knots[i + 1].to(log_alpha.device)
        return (i.to(log_alpha.device) + (log_alpha - lower) / (upper - lower)) / n
