"""The processes of the literature, each as its alpha and sigma."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from .errors import InputError
from .sde import SDE, as_time


@dataclass(frozen=True, kw_only=True)
class _Process(SDE):
    """Checks that hold for every process."""

    _least: ClassVar[float] = 1e-9  # of t_min: a score is divided by sigma, which is 0 at t = 0

    def __post_init__(self) -> None:
        if not self._least <= self.t_min < self.t_max < math.inf:
            raise InputError(
                f"{type(self).__name__}: needs {self._least:g} <= t_min < t_max, got t_min={self.t_min}, "
                f"t_max={self.t_max}"
            )


def _check_betas(name: str, beta_min: float, beta_max: float) -> None:
    if not 0 < beta_min <= beta_max < math.inf:
        raise InputError(f"{name}: needs 0 < beta_min <= beta_max, got beta_min={beta_min}, beta_max={beta_max}")


def _check_sigmas(name: str, sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max < math.inf:
        raise InputError(f"{name}: needs 0 < sigma_min < sigma_max, got sigma_min={sigma_min}, sigma_max={sigma_max}")


def _log_alpha(t: Tensor, beta_min: float, beta_max: float) -> Tensor:
    """log alpha = -1/2 int_0^t beta for beta(t) linear in t."""
    return -0.5 * t * (beta_min + 0.5 * t * (beta_max - beta_min))


def _time_of_log_alpha(log_alpha: Tensor, beta_min: float, beta_max: float) -> Tensor:
    """Inverse of `_log_alpha`: the root of a quadratic, in the form that loses no digits and allows a constant beta.

    2 c / (beta_min + sqrt(beta_min^2 + 2 (beta_max - beta_min) c)), divided by sqrt(c): 0 at c = 0 and inf at c = inf.
    """
    root = (-2 * log_alpha).sqrt()
    b = beta_min / root
    return 2 * root / (b + (b**2 + 2 * (beta_max - beta_min)).sqrt())


@final
@dataclass(frozen=True, kw_only=True)
class VP(_Process):
    """Variance-preserving SDE: dx = -beta(t)/2 x dt + sqrt(beta(t)) dw, beta linear in t; alpha^2 + sigma^2 = 1.

    beta_min, beta_max: beta at t = 0 and at t = 1, 0 < beta_min <= beta_max. t_min, t_max: the times in use.
    Source: Song et al. 2021, eq. 11 and 33; Ho et al. 2020 in the limit of many steps.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_betas("VP", self.beta_min, self.beta_max)

    def alpha(self, t: Tensor) -> Tensor:
        return _log_alpha(as_time(t), self.beta_min, self.beta_max).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * _log_alpha(as_time(t), self.beta_min, self.beta_max))).sqrt()

    def time(self, rho: Tensor) -> Tensor:
        return _time_of_log_alpha(-0.5 * torch.log1p(as_time(rho) ** 2), self.beta_min, self.beta_max)


@final
@dataclass(frozen=True, kw_only=True)
class SubVP(_Process):
    """Sub-VP SDE: VP's drift with a smaller diffusion, so that sigma = 1 - alpha^2 (a standard deviation).

    beta_min, beta_max: beta at t = 0 and at t = 1, 0 < beta_min <= beta_max. t_min, t_max: the times in use.
    Source: Song et al. 2021, eq. 12 and 29.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    t_max: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_betas("SubVP", self.beta_min, self.beta_max)

    def alpha(self, t: Tensor) -> Tensor:
        return _log_alpha(as_time(t), self.beta_min, self.beta_max).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(2 * _log_alpha(as_time(t), self.beta_min, self.beta_max))

    def time(self, rho: Tensor) -> Tensor:
        # rho = 1/alpha - alpha = 2 sinh(-log alpha)
        return _time_of_log_alpha(-torch.asinh(as_time(rho) / 2), self.beta_min, self.beta_max)


@final
@dataclass(frozen=True, kw_only=True)
class VE(_Process):
    """Variance-exploding SDE: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t.

    sigma_min, sigma_max: sigma at t = 0 and at t = 1, 0 < sigma_min < sigma_max. t_min, t_max: the times in use.
    Source: Song et al. 2021, eq. 9 and 30.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    t_min: float = 0.0
    t_max: float = 1.0
    _least = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_sigmas("VE", self.sigma_min, self.sigma_max)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 + 0 * as_time(t)  # keeps t in the graph, for f = 0

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * (as_time(t) * math.log(self.sigma_max / self.sigma_min)).exp()

    def time(self, rho: Tensor) -> Tensor:
        return (as_time(rho) / self.sigma_min).log() / math.log(self.sigma_max / self.sigma_min)


@final
@dataclass(frozen=True, kw_only=True)
class Cosine(_Process):
    """Variance-preserving process with alpha = cos(theta(t)) / cos(theta(0)), theta(t) = (t + s)/(1 + s) pi/2.

    alpha is 0 at t = 1. s: keeps the steps near the data from becoming too small, in [0, 1). t_min, t_max: the times in
    use, t_max at most 1. Source: Nichol & Dhariwal 2021, eq. 17, in continuous time.
    """

    s: float = 0.008
    t_min: float = 1e-4
    t_max: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
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


@final
@dataclass(frozen=True, kw_only=True)
class EDM(_Process):
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
        _check_sigmas("EDM", self.sigma_min, self.sigma_max)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 + 0 * as_time(t)

    def sigma(self, t: Tensor) -> Tensor:
        return as_time(t)

    def time(self, rho: Tensor) -> Tensor:
        return as_time(rho)


@final
@dataclass(frozen=True, kw_only=True)
class RectifiedFlow(_Process):
    """Straight lines between data and noise: alpha = 1 - t, sigma = t; alpha is 0 at t = 1.

    t_min, t_max: the times in use, t_max at most 1.
    Source: Liu et al. 2023; Lipman et al. 2023 (conditional optimal-transport paths).
    """

    t_min: float = 1e-3
    t_max: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.t_max > 1:
            raise InputError(f"RectifiedFlow: needs t_max <= 1, got t_max={self.t_max}")

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - as_time(t)

    def sigma(self, t: Tensor) -> Tensor:
        return as_time(t)

    def time(self, rho: Tensor) -> Tensor:
        return 1 / (1 + 1 / as_time(rho))  # 0 at rho = 0 and 1 at rho = inf


@final
@dataclass(frozen=True)
class TabulatedVP(_Process):
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
