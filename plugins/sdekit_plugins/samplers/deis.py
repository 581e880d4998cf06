"""DEIS: exponential Adams-Bashforth in the noise that the network predicts."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import (
    Multistep,
    MultistepCoefficients,
    Start,
    Variable,
    adams_bashforth,
    check_start,
    noise_prediction,
)
from sdekit.processes import SDE, FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class DEIS(Multistep):
    """DEIS: a deterministic multistep method that integrates the predicted noise eps as a polynomial.

        x_s = alpha_s (x_t / alpha_t + int eps d rho),    eps a polynomial through its last `order` values

    If alpha reaches 0 at t_max, x / (alpha + sigma) and sigma / (alpha + sigma) replace x / alpha and rho
    (`sdekit.processes.FlowCoordinates`).

    Arguments:
        variable: Variable of the polynomial: "tAB" is t and "rhoAB" is rho, both of the paper; "logrhoAB" is log rho,
            which diffusers calls DEIS.
        order: Number of values of eps, 1 (DDIM) to 4.
        start: "plain" as published, or "corrected", which keeps third order if x starts at a moderate noise level
            (`sdekit.integrators.adams_bashforth`).
    Source:
        Zhang & Chen 2023, eq. 14-15 and section 4.
    """

    variable: Literal["tAB", "rhoAB", "logrhoAB"] = "tAB"
    order: int = 3
    start: Start = "plain"

    default_steps = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variable not in ("tAB", "rhoAB", "logrhoAB"):
            raise InputError(f"deis: variable must be 'tAB', 'rhoAB' or 'logrhoAB', got {self.variable!r}")
        if self.order not in range(1, 5):
            raise InputError(f"deis: order must be 1, 2, 3 or 4, got {self.order}")
        check_start("deis", self.start)

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        variables: dict[str, Variable] = {
            "tAB": sde.time,
            "rhoAB": FlowCoordinates.edm(sde).r_at,
            "logrhoAB": torch.log,
        }
        return adams_bashforth(noise_prediction(sde, times), variables[self.variable], self.order, self.start)
