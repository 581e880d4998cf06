"""The default for a given number of calls: Adams steps in a function of rho, with a corrector that costs no call."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import IntegralForm, Multistep, MultistepCoefficients, data_prediction, polynomial_weights
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise

FIVE_POINTS, SIX_POINTS = 15, 34
"""Smallest numbers of calls at which the polynomial has a fifth point, and a sixth point."""


@dataclass(frozen=True, kw_only=True)
class Auto(Multistep):
    """Auto: a deterministic multistep predictor-corrector that is accurate at any number of calls.

        x_s = (sigma_s / sigma_t) x_t + sigma_s int D d(1/rho),    D a polynomial in log((2 + rho) / (30 + rho))

    The polynomial goes through the last values of the denoiser D. As soon as D at s is known, the step is repeated with
    this value too, as in UniPC, without a further call. The variable is linear in rho at low noise, linear in 1/rho at
    high noise, and close to log rho in between. It suits data with details of any size, whereas a function of rho^2
    suits only data that are smooth at the noise levels of the steps.

    The first call is not at times[0], where D is almost the mean of the data, but as far above times[1] as times[1] is
    above times[2] in log rho. D = 0 is used from times[0] to the first call; as soon as two values are known, this part
    is corrected with D linear in 1 / rho. If the first step of the grid is at most a quarter longer in log rho than the
    second one, the first call is at times[0].

    The order 2 is the order of the start if alpha is 0 at t_max; noise levels above rho = 1,000 then leave an error of
    1e-8. In all other cases the measured order is at least 3.

    Arguments:
        points: Number of values of D in a polynomial, 2 to 6; None means 4, 5 for at least 15 calls, and 6 for at least
            34 calls.
        data_std: Standard deviation of the data in the model's units, > 0; rho is measured in units of it.
    Source:
        Zhang & Chen 2023 (DEIS: polynomials and quadrature) and Zhao et al. 2023 (UniC). The variable and the first
        step are sdekit's own.
    """

    points: int | None = None
    data_std: float = 1.0

    order = 2
    default_steps = 30
    default_grid = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points is not None and not 2 <= self.points <= 6:
            raise InputError(f"auto: points must be between 2 and 6, or left out, got {self.points}")
        if not 0 < self.data_std < float("inf"):
            raise InputError(f"auto: data_std must be positive and finite, got {self.data_std}")

    @property
    def grid_options(self) -> dict[str, float]:
        return {"data_std": self.data_std}

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) > 1:
            start = call_times(sde, times)
            x = x * float(sde.sigma(start[0]) / sde.sigma(times[0]))  # to the first call with D = 0
            yield from self.coefficients(sde, times).run(denoise, x, start, noise)

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        start = call_times(sde, times)
        form = data_prediction(sde, start)  # d(x / sigma) = x_0 d(1 / rho)
        points = self.points or 4 + (len(times) >= FIVE_POINTS) + (len(times) >= SIX_POINTS)
        predictor = polynomial_weights(form, self._variable, points)
        corrector = polynomial_weights(form, self._variable, points, implicit=True)
        self._add_start(form, sde.alpha(times[0]) / sde.sigma(times[0]), predictor, corrector)
        return form.coefficients(predictor, corrector)

    def _variable(self, rho: Tensor) -> Tensor:
        """Return log((1 + rho / 2) / (1 + rho / 30)), precise near rho = 0 and log(15) at rho = inf."""
        return torch.log1p(14 / (1 + 30 * self.data_std / rho))

    def _add_start(self, form: IntegralForm, c_0: Tensor, predictor: Tensor, corrector: Tensor) -> None:
        """Add to the first step the integral of D from c_0, at times[0], to the first call: a constant, then a line."""
        gap = form.c[0] - c_0
        slope = gap / 2 / (form.c[1] - form.c[0])
        predictor[0, 0] += gap
        corrector[0, :2] += gap * torch.stack([-slope, 1 + slope])


def first_call(sde: SDE, times: Tensor) -> Tensor:
    """Return the time of the first call, (): rho = rho_1^2 / rho_2, or times[0] if this is not much lower or n = 1."""
    if len(times) < 3:
        return times[0]
    rho = sde.rho(times[1:3])
    ratio = rho[0] / rho[1].clamp(min=1e-9)
    return times[0] if sde.rho(times[0]) <= rho[0] * ratio**1.25 else sde.time(rho[0] * ratio)


def call_times(sde: SDE, times: Tensor) -> Tensor:
    """Return the grid with the time of the first call in place of times[0], (n + 1,)."""
    return torch.cat([first_call(sde, times)[None], times[1:]])
