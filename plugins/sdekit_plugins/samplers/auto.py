"""The default where only a budget is known: Adams steps in a bent noise level, with a corrector that costs no call."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Multistep, MultistepCoefficients, data_prediction, polynomial_weights
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, kept

SOME, MANY = 15, 34  # calls from which a fifth point pays, and a sixth and another variable


@dataclass(frozen=True, kw_only=True)
class Auto(Multistep):
    """x_s = (sigma_s / sigma_t) x_t + sigma_s int D d(1 / rho), D a polynomial in (1 + rho^p)^(-1 / 2p), p = 2 or 4/3.

    p is 2 for up to 33 calls, whose steps are long, and 4/3 for more: many calls reach down to where D, of a network
    above all, changes less smoothly than with rho^2. The polynomial goes through the last values of the denoiser D;
    its weights come from quadrature. Once D at the new level is known, the step is repeated with it among the points
    (as UniPC does, at no call). The first call is not at times[0], where D is hardly more than the mean of the data,
    but as far above times[1] as that is above times[2] in log rho: with D = 0 up to there, and a line in 1 / rho
    through two values of D once there are two. On grids that begin with a step as small as the next, that is times[0]
    all the same. Order 2 is that of this start where alpha is 0 at t_max (in the end it leaves an error of 1e-8, from
    above rho = 1,000); elsewhere 3 or more was measured.
    points: values of D in a polynomial, 2 to 6; None for 4, 5 from 15 calls on, 6 from 34. data_std: standard
    deviation of the data in the model's units, in which rho is measured.
    Source: Zhang & Chen 2023 (DEIS, polynomials and quadrature), Zhao et al. 2023 (UniC); the variable and the first
    step are sdekit's own: of Gaussian data, D is linear in (1 + rho^2)^(-1/2).
    """

    points: int | None = None
    data_std: float = 1.0

    order = 2
    default_steps = 20
    default_grid = "auto"

    def __post_init__(self) -> None:
        if self.points is not None and not 2 <= self.points <= 6:
            raise InputError(f"auto: points must be between 2 and 6, or left out, got {self.points}")
        if not 0 < self.data_std < float("inf"):
            raise InputError(f"auto: data_std must be positive and finite, got {self.data_std}")

    @property
    def grid_options(self) -> dict[str, float]:
        return {"data_std": self.data_std}

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) > 1:
            start, ratio, plan = kept(self._begin, sde, times)
            yield from plan.run(denoise, x * ratio, start)

    def plan(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        return self._begin(sde, times)[2]

    def _begin(self, sde: SDE, times: Tensor) -> tuple[Tensor, float, MultistepCoefficients]:
        """The times of the calls, how x changes up to the first of them, and the steps from there on."""
        start = torch.cat([first_call(sde, times)[None], times[1:]])
        frame = data_prediction(sde, start)
        points = self.points or 4 + (len(times) >= SOME) + (len(times) >= MANY)
        warp = partial(self._warp, p=4 / 3 if len(times) >= MANY else 2.0)
        predictor = polynomial_weights(frame, warp, points)
        corrector = polynomial_weights(frame, warp, points, ahead=True)
        # from times[0] to the first call: a constant, and then a line in the clock 1 / rho
        gap = frame.clock[0] - sde.alpha(times[0]) / sde.sigma(times[0])
        slope = gap / 2 / (frame.clock[1] - frame.clock[0])
        predictor[0, 0] += gap
        corrector[0, :2] += gap * torch.stack([-slope, 1 + slope])
        return (
            start,
            float(sde.sigma(start[0]) / sde.sigma(times[0])),
            MultistepCoefficients(frame, predictor, corrector),
        )

    def _warp(self, rho: Tensor, p: float) -> Tensor:
        """(1 + rho^p)^(-1 / 2p) - 1 with all digits near 0; -1 at rho = inf."""
        return torch.expm1(-torch.log1p((rho / self.data_std) ** p) / (2 * p))


def first_call(sde: SDE, times: Tensor) -> Tensor:
    """The time of the first call, (): rho_1^2 / rho_2, at most times[0]; times[0] where there are but two times."""
    if len(times) < 3:
        return times[0]
    rho = sde.rho(times[1:3])
    return torch.minimum(sde.time(rho[0] ** 2 / rho[1].clamp(min=1e-9)), times[0])
