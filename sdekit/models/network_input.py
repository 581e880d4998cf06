"""The inputs of a network for x_t and t: the scale of x and the number that stands for the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import LARGEST_RHO, SDE


def _log_rho(sde: SDE, t: Tensor) -> Tensor:
    return (sde.sigma(t) / sde.alpha(t)).clamp(1e-4, LARGEST_RHO).log()  # training covers no other noise levels


CLOCKS: dict[str, Callable[[SDE, Tensor], Tensor]] = {
    "t": lambda sde, t: t,
    "rho": lambda sde, t: sde.rho(t),
    "log-rho": _log_rho,
}
"""Functions (sde, t) -> clock, of the shape of t. rho = sigma / alpha is the noise level."""


@dataclass(frozen=True, kw_only=True)
class NetworkInput:
    """The inputs of a network F(c_in x, c_noise): c_in = 1 / std(x_t) or 1, and c_noise = scale * clock(t) + offset.

    The defaults are the inputs of networks that sdekit trains (Karras et al. 2022). Other networks use, for example,

    - `NetworkInput(clock="t", scale=1000, offset=-1, normalize=False)`: the index 0 to 999 in a table of 1000 betas,
    - `NetworkInput(clock="t", scale=999, normalize=False)`: score_sde,
    - `NetworkInput(clock="t", scale=1000, normalize=False)`: rectified flows of diffusers,
    - `NetworkInput(clock="rho", scale=1, normalize=False)`: sigma,
    - `NetworkInput(clock="log-rho", scale=1, offset=-math.log(2), normalize=False)`: log(sigma / 2).

    Arguments:
        clock: Function of the time, a key of `CLOCKS`: "t", "rho" or "log-rho".
        scale: Factor of the clock.
        offset: Number that is added to the scaled clock.
        normalize: Whether x_t is divided by its standard deviation.
    Raises:
        InputError: If the clock is unknown, or a number is not finite.
    """

    clock: str = "log-rho"
    scale: float = 0.25
    offset: float = 0.0
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise InputError(f"no clock {self.clock!r}: choose one of {', '.join(CLOCKS)}")
        if not (math.isfinite(self.scale) and math.isfinite(self.offset)):
            raise InputError(f"a clock needs a finite scale and offset, got {self.scale} and {self.offset}")

    def c_noise(self, sde: SDE, t: Tensor) -> Tensor:
        """Return the time input, float64 of the shape of t, for times t () or (B,)."""
        c_noise = CLOCKS[self.clock](sde, t) * self.scale
        return c_noise + self.offset if self.offset else c_noise

    def c_in(self, sde: SDE, t: Tensor, data_std: float) -> Tensor | None:
        """Return the scale of x, float64 of the shape of t, or None for 1; `data_std` as for `ScoreModel`."""
        return ((sde.alpha(t) * data_std) ** 2 + sde.sigma(t) ** 2).rsqrt() if self.normalize else None

    def __str__(self) -> str:
        """Write the formula, such as "1000 t - 1, x unscaled"."""
        clock = {"t": "t", "rho": "rho", "log-rho": "log rho"}[self.clock]
        offset = f" {'-' if self.offset < 0 else '+'} {abs(self.offset):g}" if self.offset else ""
        factor = "" if self.scale == 1 else f"{self.scale:g} "
        return f"{factor}{clock}{offset}, {'x / std(x_t)' if self.normalize else 'x unscaled'}"


TRAINED_HERE = NetworkInput()
"""Inputs of the networks that sdekit trains."""
