"""DDIM: the probability-flow ODE by Euler's method, in the coordinates where that is exact for a fixed x_0."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torchdiffeq import odeint

from sdekit.errors import InputError
from sdekit.line import Line
from sdekit.noise import Noise
from sdekit.renoise import renoise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True, kw_only=True)
class DDIM(Sampler):
    """Euler's method (of torchdiffeq) on the probability flow, where it is x_s = alpha_s x_0 + sigma_s eps.

    eta: 0 is deterministic, 1 is DDPM; it scales the standard deviation of the fresh noise, between 0 and 1.
    Source: Song, Meng & Ermon 2021, eq. 12, 13 and 16.
    """

    eta: float = 0.0

    order = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"ddim: eta must be between 0 (deterministic) and 1 (DDPM), got {self.eta}")

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        z = noise(t, s) if self.eta else None
        return renoise(sde, x, denoise(x, t), t, s, z, self.eta)

    def trajectory(self, sde: SDE, denoise: Denoise, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if self.eta:
            yield from super().trajectory(sde, denoise, x, times, noise)
        elif len(times) > 1:
            line = Line(sde)
            path = odeint(partial(line.field, denoise), x / line.scale(times[0]), line.r(times), method="euler")
            for y, t in zip(path[1:], times[1:], strict=True):
                yield line.scale(t) * y
