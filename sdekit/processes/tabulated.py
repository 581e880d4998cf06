"""DDPM's table of betas as a process in continuous time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from sdekit.errors import InputError

from .sde import SDE, as_time


@final
@dataclass(frozen=True)
class TabulatedVP(SDE):
    """DDPM's table of betas in continuous time: alpha^2 = prod_{j<=i} (1 - beta_j) at the knots t = i/N.

    Between the knots, log alpha is linear. From knot to knot, the ancestral step is exactly Ho et al.'s posterior.
    t_min is the first knot, 1/N, and t_max is 1.

    Arguments:
        betas: The N betas, at least two, each in (0, 1).
    Source:
        Ho et al. 2020, section 2.
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
        """Create the process of DDPM with n betas that increase linearly from beta_min to beta_max.

        Arguments:
            n: Number of betas, at least 2.
            beta_min: First beta, between 0 and 1.
            beta_max: Last beta, between 0 and 1.
        Returns:
            The process.
        Source:
            Ho et al. 2020, section 4.
        """
        return cls(tuple(torch.linspace(beta_min, beta_max, max(n, 1), dtype=torch.float64).tolist()))

    @classmethod
    def cosine(cls, *, n: int = 1000, s: float = 0.008, beta_max: float = 0.999) -> TabulatedVP:
        """Create the process of DDPM with n betas of the cosine schedule, each at most beta_max.

        Arguments:
            n: Number of betas, at least 2.
            s: Offset that prevents the first betas from becoming too small, at least 0.
            beta_max: Upper limit of the betas, between 0 and 1.
        Returns:
            The process.
        Source:
            Nichol & Dhariwal 2021, eq. 17.
        """
        theta = (torch.arange(max(n, 0) + 1, dtype=torch.float64) / n + s) / (1 + s) * (math.pi / 2)
        alpha2 = theta.cos() ** 2
        return cls(tuple((1 - alpha2[1:] / alpha2[:-1]).clamp(max=beta_max).tolist()))

    @cached_property
    def _knots(self) -> Tensor:
        """Return log alpha at t = 0, 1/N, ..., 1, (N + 1,)."""
        log_alpha = 0.5 * torch.tensor(self.betas, dtype=torch.float64).neg().log1p().cumsum(0)
        return torch.cat([torch.zeros(1, dtype=torch.float64), log_alpha])

    def _log_alpha(self, t: Tensor) -> Tensor:
        n, knots = len(self.betas), self._knots
        u = as_time(t) * n
        # a knot belongs to the interval below it, so that f at a knot is the f of the step that ends there
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
