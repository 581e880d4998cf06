"""DDIM: the probability-flow ODE by Euler's method, in coordinates where the denoised x_0 is the slope."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torchdiffeq import odeint

from sdekit.errors import InputError
from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import SDE, Denoiser, renoise_weights
from sdekit.sampling import Noise

LARGEST_PATH = 2**22
"""Numbers in the result of one call of `odeint`, which returns the path only when it is complete."""


@dataclass(frozen=True, kw_only=True)
class DDIM(OneStep):
    """Euler's method on the flow, dy/dc = x_0, y = x / sigma and c = alpha / sigma: x_s = alpha_s x_0 + sigma_s eps.

    eta: 0 is deterministic, 1 is DDPM; it scales the standard deviation of the fresh noise, between 0 and 1.
    solver: of the ODE, which eta = 0 is. "torchdiffeq" leaves it to that; "closed-form" takes the same steps, to
    rounding, by that formula, as eta > 0 always does, with two passes over x in place of four.
    Source: Song, Meng & Ermon 2021, eq. 12, 13 and 16.
    """

    eta: float = 0.0
    solver: Literal["torchdiffeq", "closed-form"] = "torchdiffeq"

    order = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise InputError(f"ddim: eta must be between 0 (deterministic) and 1 (DDPM), got {self.eta}")
        if self.solver not in ("torchdiffeq", "closed-form"):
            raise InputError(f"ddim: solver must be 'torchdiffeq' or 'closed-form', got {self.solver!r}")

    @property
    def stochastic(self) -> bool:
        """Where eta is above 0."""
        return self.eta > 0

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        return renoise_weights(sde, t, s, self.eta)

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if self.solver == "closed-form" or self.eta or len(times) == 1:
            yield from super().trajectory(sde, denoise, x, times, noise)
            return
        alpha, sigma = sde.alpha(times), sde.sigma(times)
        c = (alpha / sigma).to(x.device)
        y, size = x / sigma[0], max(1, LARGEST_PATH // x.numel())
        for start in range(0, len(times) - 1, size):
            part = slice(start, start + size + 1)
            calls = zip(times[part], sigma[part], strict=True)

            def slope(_: Tensor, y: Tensor, calls: Iterator[tuple[Tensor, Tensor]] = calls) -> Tensor:
                t, sigma_t = next(calls)  # Euler's method calls it once per step, at the times of the grid in order
                return denoise(sigma_t * y, t)

            path = odeint(slope, y, c[part], method="euler")
            for y, sigma_s in zip(path[1:], sigma[part][1:], strict=True):
                yield sigma_s * y
