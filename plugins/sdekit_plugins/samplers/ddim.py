"""DDIM: the probability-flow ODE by Euler's method, in coordinates where the denoised x_0 is the slope."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torchdiffeq import odeint

from sdekit.errors import InputError
from sdekit.guidance import current_context
from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import SDE, Denoiser, best_float, renoise_weights
from sdekit.sampling import Noise

LARGEST_PATH = 2**22
"""Largest size of the result of one call of `odeint`, which returns the whole path at once."""


@dataclass(frozen=True, kw_only=True)
class DDIM(OneStep):
    """DDIM: Euler's method on the probability flow, deterministic unless eta is above 0.

        x_s = alpha_s x_0 + sigma_s (sqrt(1 - f^2) eps + f z),    f = eta sqrt(1 - (rho_s / rho_t)^2)

    For eta = 0 this is Euler's method for dy/dc = x_0 with y = x / sigma and c = alpha / sigma. Order 1.

    Arguments:
        eta: Standard deviation of the new noise relative to `ddpm`, between 0 (deterministic) and 1 (DDPM).
        solver: Solver of the ODE for eta = 0. "torchdiffeq" is `odeint` with method "euler". "closed-form" takes the
            same steps, up to rounding errors, by the formula above, and is faster.
    Source:
        Song, Meng & Ermon 2021, eq. 12, 13 and 16.
    """

    eta: float = 0.0
    solver: Literal["torchdiffeq", "closed-form"] = "torchdiffeq"

    order = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise InputError(f"ddim: eta must be between 0 (deterministic) and 1 (DDPM), got {self.eta}")
        if self.solver not in ("torchdiffeq", "closed-form"):
            raise InputError(f"ddim: solver must be 'torchdiffeq' or 'closed-form', got {self.solver!r}")

    @property
    def stochastic(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        return renoise_weights(sde, t, s, self.eta)  # x_s above, in terms of x_t, x_0 and z

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if self.solver == "closed-form" or self.eta:
            yield from super().trajectory(sde, denoise, x, times, noise)
            return
        context = current_context()
        size = 1 if context is not None and context.stepwise else max(1, LARGEST_PATH // x.numel())
        yield from euler(sde, denoise, x, times, size)


def euler(sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, size: int) -> Iterator[Tensor]:
    """Yield x at times[1:]: Euler's method for dy/dc = x_0 by calls of `odeint`, each for `size` steps of the grid."""
    alpha, sigma = sde.alpha(times), sde.sigma(times)
    c = (alpha / sigma).to(x.device, best_float(x.device))
    calls = iter(zip(times.unbind(), sigma.unbind(), strict=True))

    def x0(_: Tensor, y: Tensor) -> Tensor:
        t, sigma_t = next(calls)  # one call per step, in order: the exact time of the grid, without the inverse of c
        return denoise(sigma_t * y, t)

    y = x / sigma[0]
    for start in range(0, len(times) - 1, size):
        steps = slice(start + 1, start + size + 1)
        path = odeint(x0, y, c[start : start + size + 1], method="euler")
        for y, sigma_s in zip(path[1:], sigma[steps].unbind(), strict=True):
            yield sigma_s * y
