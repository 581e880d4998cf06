"""DPM-Solver++(3M): a parabola through the last three denoised x_0 in log-SNR, integrated exactly."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import Multistep, MultistepCoefficients, Start, adams_bashforth, check_start, data_prediction
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class DPMpp3M(Multistep):
    """x_s = (sigma_s / sigma_t) x_t + sigma_s int D d(1/rho), D a parabola in log rho through the last three.

    start: "plain" as published, or "corrected" (`adams_bashforth`). The published code (k-diffusion and
    diffusers have it too) gives the second derivative half of its weight, and converges at second order; this is the
    parabola itself, at third.
    Source: Lu et al. 2022b (DPM-Solver++), appendix, with that weight mended.
    """

    start: Start = "plain"

    order = 3
    default_steps = 25
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        check_start("dpmpp-3m", self.start)

    def plan(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        return adams_bashforth(data_prediction(sde, times), torch.log, 3, self.start)
