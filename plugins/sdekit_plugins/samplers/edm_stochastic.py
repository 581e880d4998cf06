"""EDM's stochastic sampler: new noise before each step of an ODE solver."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, diffuse
from sdekit.registry import build
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class EDMStochastic(Sampler):
    """EDM stochastic: raise the noise level by new noise ("churn"), then step down by a one-step method.

        rho_up = rho_t (1 + gamma),    gamma = min(s_churn / n, sqrt(2) - 1) if s_min <= rho_t <= s_max, else 0

    n is the number of grid times. The raised level stays below the largest level of the process. Weak order 2 with
    Heun's method.

    Arguments:
        s_churn: Amount of noise over the whole run, at least 0; with 0, no noise is added.
        s_min: Lowest level at which noise is added, in units of sigma / alpha.
        s_max: Highest level at which noise is added, in units of sigma / alpha.
        s_noise: Factor of the standard deviation of the noise, > 0; Karras et al. use up to 1.007.
        method: Registered deterministic one-step sampler.
    Source:
        Karras et al. 2022, Algorithm 2.
    """

    s_churn: float = 10.0
    s_min: float = 0.0
    s_max: float = 1000.0
    s_noise: float = 1.0
    method: str = "heun"

    default_steps = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.s_churn >= 0 and self.s_noise > 0):
            raise InputError(
                f"edm-stochastic: needs s_churn >= 0 and s_noise > 0, got {self.s_churn} and {self.s_noise}"
            )
        if not 0 <= self.s_min <= self.s_max:
            raise InputError(f"edm-stochastic: needs 0 <= s_min <= s_max, got {self.s_min} and {self.s_max}")
        if type(self._method).step is Sampler.step or self._method.calls_per_step is None or self._method.stochastic:
            raise InputError(f"edm-stochastic: {self.method!r} is not a deterministic one-step sampler: try 'heun'")

    @cached_property
    def _method(self) -> Sampler:
        method: Sampler = build("sampler", self.method)
        return method

    @property
    def order(self) -> int | None:
        """Weak order: the order of the method, at most 2."""
        return None if self._method.order is None else min(2, self._method.order)

    @property
    def stochastic(self) -> bool:
        """Whether s_churn is above 0."""
        return self.s_churn > 0

    @property
    def calls_per_step(self) -> int:
        """Calls of the method, because raising the noise level takes no calls."""
        return self._method.calls_per_step or 0

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return self._step(sde, denoise, x, t, s, noise, self.default_steps)

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for t, s in pairwise(times):
            x = self._step(sde, denoise, x, t, s, noise, len(times))
            yield x

    def _step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise, n: int) -> Tensor:
        gamma = min(self.s_churn / n, math.sqrt(2) - 1)
        up = sde.time(sde.rho(t) * (1 + gamma)).clamp(max=sde.t_max)
        if gamma and self.s_min <= sde.rho(t) <= self.s_max and up > t:
            x, t = diffuse(sde, x, t, up, self.s_noise * noise()), up
        return self._method.step(sde, denoise, x, t, s, noise)
