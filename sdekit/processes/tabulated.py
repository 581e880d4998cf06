"""DDPM's table of betas as a process in continuous time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from sdekit.arguments import check_count, check_number, describe_value, short_repr
from sdekit.errors import InputError

from .sde import SDE, as_time

MOST = 10**6
"""Largest number of betas of `linear` and `cosine`."""


@final
@dataclass(frozen=True)
class TabulatedVP(SDE):
    """DDPM's table of betas in continuous time: alpha^2 = prod_{j<=i} (1 - beta_j) at the knots t = i/N.

    Index i = 0, ..., N - 1 of the table is the time t = (i + 1)/N. Between the knots, log alpha is linear. From knot to
    knot, the ancestral step is exactly Ho et al.'s posterior. t_min is the first knot, 1/N, and t_max is 1.

    The last beta may be 1, so that alpha is 0 at t = 1 (zero terminal SNR). In the last interval, alpha is then linear.

    Arguments:
        betas: The N betas, at least two, each in (0, 1); the last one may be 1.
    Raises:
        InputError: If there are fewer than two betas, or one is out of range.
    Source:
        Ho et al. 2020, section 2; Lin et al. 2024 for zero terminal SNR.
    """

    betas: tuple[float, ...]
    t_min: float = field(init=False, repr=False)
    t_max: float = field(init=False, repr=False)

    def __repr__(self) -> str:
        return short_repr(self)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "betas", tuple(float(b) for b in self.betas))
        except (TypeError, ValueError):
            got = describe_value(self.betas)
            raise InputError(f"TabulatedVP: betas must be a sequence of numbers, got {got}") from None
        if len(self.betas) < 2 or not all(0 < b < 1 for b in self.betas[:-1]) or not 0 < self.betas[-1] <= 1:
            raise InputError("TabulatedVP: needs at least two betas, each between 0 and 1; only the last one may be 1")
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
        n = check_count("TabulatedVP: needs at least two betas: n", n, least=2, most=MOST)
        low = check_number("TabulatedVP.linear: beta_min", beta_min)
        high = check_number("TabulatedVP.linear: beta_max", beta_max)
        return cls(tuple(torch.linspace(low, high, n, dtype=torch.float64).tolist()))

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
        n = check_count("TabulatedVP: needs at least two betas: n", n, least=2, most=MOST)
        s = check_number("TabulatedVP.cosine: s", s, least=0)
        beta_max = check_number("TabulatedVP.cosine: beta_max", beta_max, above=0)
        theta = (torch.arange(n + 1, dtype=torch.float64) / n + s) / (1 + s) * (math.pi / 2)
        alpha2 = theta.cos() ** 2
        return cls(tuple((1 - alpha2[1:] / alpha2[:-1]).clamp(max=beta_max).tolist()))

    @classmethod
    def scaled_linear(cls, *, n: int = 1000, beta_min: float = 0.00085, beta_max: float = 0.012) -> TabulatedVP:
        """Create the process of latent diffusion: the roots of the n betas increase linearly.

        Arguments:
            n: Number of betas, at least 2.
            beta_min: First beta, between 0 and 1.
            beta_max: Last beta, between 0 and 1.
        Returns:
            The process.
        Source:
            Rombach et al. 2022, in the configurations of the published models.
        """
        if not (beta_min > 0 and beta_max > 0):
            raise InputError(f"TabulatedVP: needs positive betas, got {beta_min} and {beta_max}")
        return cls(tuple((torch.linspace(beta_min**0.5, beta_max**0.5, max(n, 1), dtype=torch.float64) ** 2).tolist()))

    def with_zero_terminal_snr(self) -> TabulatedVP:
        """Return the process with alpha shifted and scaled so that alpha(1) = 0 and the first alpha is unchanged.

        Returns:
            Process whose last beta is 1.
        Source:
            Lin et al. 2024, algorithm 1.
        """
        alpha = self._knots[1:].exp()
        alpha = (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))
        alpha2 = torch.cat([torch.ones(1, dtype=torch.float64), alpha**2])
        return TabulatedVP(tuple((1 - alpha2[1:] / alpha2[:-1]).tolist()))

    @cached_property
    def _knots(self) -> Tensor:
        """Return log alpha at t = 0, 1/N, ..., 1, (N + 1,); the last one may be -inf."""
        log_alpha = 0.5 * torch.tensor(self.betas, dtype=torch.float64).neg().log1p().cumsum(0)
        return torch.cat([torch.zeros(1, dtype=torch.float64), log_alpha])

    def _log_alpha(self, t: Tensor) -> Tensor:
        n, knots = len(self.betas), self._knots
        u = as_time(t) * n
        # a knot belongs to the interval below it, so that f at a knot is the f of the step that ends there
        i = (u - 1e-9).floor().clamp(0, n - 1).long().cpu()
        lower, upper = knots[i].to(u.device), knots[i + 1].to(u.device)
        part = u - i.to(u.device)
        if self.betas[-1] < 1:
            return lower + part * (upper - lower)
        last = upper.isneginf()  # alpha is linear there, and log alpha elsewhere; `where` keeps the gradients finite
        slope = torch.where(last, 0.0, upper) - lower
        return torch.where(last, lower + torch.where(last, 1 - part, 1.0).log(), lower + part * slope)

    def alpha(self, t: Tensor) -> Tensor:
        return self._log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * self._log_alpha(t))).sqrt()

    def time(self, rho: Tensor) -> Tensor:
        n, knots = len(self.betas), self._knots
        log_alpha = -0.5 * torch.log1p(as_time(rho) ** 2)
        i = (torch.searchsorted(-knots, -log_alpha.cpu()) - 1).clamp(0, n - 1)
        lower, upper = knots[i].to(log_alpha.device), knots[i + 1].to(log_alpha.device)
        part = (log_alpha - lower) / (upper - lower)
        if self.betas[-1] == 1:
            part = torch.where(upper.isneginf(), -torch.expm1(log_alpha - lower), part)
        return (i.to(log_alpha.device) + part) / n
