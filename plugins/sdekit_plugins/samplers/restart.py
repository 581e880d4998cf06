"""Restart sampling: an ODE solver that repeats one stretch of noise levels."""

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
class Restart(Sampler):
    """Restart: an ODE solver that adds noise and repeats one stretch of noise levels.

    The forward noise contracts the errors made so far, and the ODE adds few new ones. The stretch lies between the
    times of the grid that are nearest to s_max and s_min in log rho, and uses the steps of the grid. Weak order 2 with
    Heun's method.

    Arguments:
        s_min: Lower end of the stretch, in units of sigma / alpha, > 0.
        s_max: Upper end of the stretch, in units of sigma / alpha, above s_min.
        repeats: Number of restarts, at least 0; with 0, nothing is repeated.
        method: Registered deterministic one-step sampler.
    Source:
        Xu et al. 2023, Algorithm 1, with one interval.
    """

    s_min: float = 0.05
    s_max: float = 1.0
    repeats: int = 2
    method: str = "heun"

    default_steps = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.s_min < self.s_max and self.repeats >= 0):
            raise InputError(
                f"restart: needs 0 < s_min < s_max and repeats >= 0, got {self.s_min}, {self.s_max} and {self.repeats}"
            )
        if type(self._method).step is Sampler.step or self._method.stochastic:
            raise InputError(f"restart: {self.method!r} is not a deterministic one-step sampler: try 'heun'")

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
        """Whether repeats is above 0."""
        return self.repeats > 0

    @property
    def calls_per_step(self) -> int | None:
        """Calls of the method if repeats is 0, else None: the number of repeated steps depends on the grid."""
        return None if self.repeats else self._method.calls_per_step

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        high, low = ((sde.rho(times) / s).log().abs().argmin() for s in (self.s_max, self.s_min))
        for i, (t, s) in enumerate(pairwise(times)):
            x = self._method.step(sde, denoise, x, t, s, noise)
            if i + 1 == low:
                for _ in range(self.repeats):
                    x = diffuse(sde, x, times[low], times[high], noise())
                    for back, down in pairwise(times[high : low + 1]):
                        x = self._method.step(sde, denoise, x, back, down, noise)
            yield x
