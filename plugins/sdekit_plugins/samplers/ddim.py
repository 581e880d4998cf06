"""DDIM: the probability-flow ODE by Euler's method, in coordinates where the denoised x_0 is the slope."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torchdiffeq._impl.fixed_grid import Euler

from sdekit.errors import InputError
from sdekit.integrators import Coefficients, OneStep, data_prediction
from sdekit.processes import SDE, Denoiser, renoise_weights
from sdekit.sampling import Noise, kept

KEPT = 2**22
"""Numbers in the x's of one call of torchdiffeq's, which gives them away when it is done."""


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
    def stochastic(self) -> bool:  # type: ignore[override]
        """Where eta is above 0."""
        return self.eta > 0

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        return renoise_weights(sde, t, s, self.eta)

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if self.solver == "closed-form" or self.eta or len(times) == 1:
            yield from super().trajectory(sde, denoise, x, times, noise)
            return
        clock, scale = kept(self._clock, sde, times)
        y, size = x / scale[0], max(1, KEPT // x.numel())
        for start in range(0, len(times) - 1, size):
            part = slice(start, start + size + 1)
            field = _Field(denoise, times[part], scale[part])
            y = _euler(field, y, clock[part])
            yield from field.path[1:]
            yield y * scale[part][-1]

    def _clock(self, sde: SDE, times: Tensor) -> tuple[list[float], list[float]]:
        frame = data_prediction(sde, times)
        return frame.clock.tolist(), frame.scale.tolist()


class _Field:
    """dy/dc = x_0 as Euler's solver asks for it: at each time in turn, so that no clock has to be turned back."""

    def __init__(self, denoise: Denoiser, times: Tensor, scale: list[float]) -> None:
        self.denoise, self.known, self.path = denoise, iter(zip(times.unbind(), scale, strict=True)), list[Tensor]()

    def __call__(self, _: float, y: Tensor, *, perturb: object) -> Tensor:
        t, scale = next(self.known)
        self.path.append(y * scale)
        return self.denoise(self.path[-1], t)

    def callback_step(self, *_: object) -> None:
        """For torchdiffeq, which tells of each step."""


def _euler(field: _Field, y: Tensor, clock: list[float]) -> Tensor:
    """y at the last time of the clock: `odeint(method="euler")` without what that does to each time and y for others.

    torchdiffeq's solver itself, as it takes times that are numbers: `odeint` wants tensors, at six operations a step.
    """
    solver = Euler(field, y, grid_constructor=lambda *_: clock, atol=None)
    result: Tensor = solver.integrate([clock[0], clock[-1]])[-1]
    return result
