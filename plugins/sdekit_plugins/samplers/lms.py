"""Linear multistep: Adams-Bashforth for unequal steps of rho."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Multistep, MultistepCoefficients, Start, adams_bashforth, check_start, noise_prediction
from sdekit.processes import SDE, FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class LMS(Multistep):
    """LMS: the deterministic Adams-Bashforth method in rho, for any grid.

        x_s = alpha_s (x_t / alpha_t + int eps d rho),    eps a polynomial in rho through its last `order` values

    It equals DEIS with variable "rhoAB". If alpha reaches 0 at t_max, x / (alpha + sigma) and sigma / (alpha + sigma)
    replace x / alpha and rho (`sdekit.processes.FlowCoordinates`).

    Arguments:
        order: Number of values of eps, 1 (DDIM) to 4.
        start: "plain" as published, or "corrected", which keeps third order if x starts at a moderate noise level
            (`sdekit.integrators.adams_bashforth`).
    Source:
        Adams-Bashforth methods (Hairer, Norsett & Wanner 1993, section III.5), as in k-diffusion's LMS.
    """

    order: int = 4
    start: Start = "plain"

    default_steps = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in range(1, 5):
            raise InputError(f"lms: order must be 1, 2, 3 or 4, got {self.order}")
        check_start("lms", self.start)

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        rho = FlowCoordinates.edm(sde).r_at
        return adams_bashforth(noise_prediction(sde, times), variable=rho, order=self.order, start=self.start)
