"""DPM-Solver++(3M): a parabola through the last three denoised x_0 in log-SNR, integrated exactly."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import Multistep, MultistepCoefficients, Start, adams_bashforth, check_start, data_prediction
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class DPMpp3M(Multistep):
    """DPM-Solver++(3M): a deterministic third-order multistep method in log-SNR.

        x_s = (sigma_s / sigma_t) x_t + sigma_s int D d(1/rho),    D a parabola in log rho through its last three values

    The published code, k-diffusion and diffusers give the second derivative half of its weight, and converge at second
    order. Here the parabola is integrated exactly, which gives third order.

    Arguments:
        start: "plain" as published, or "corrected", which keeps third order if x starts at a moderate noise level
            (`sdekit.integrators.adams_bashforth`).
    Source:
        Lu et al. 2022b (DPM-Solver++), appendix, with the weight of the second derivative corrected.
    """

    start: Start = "plain"

    order = 3
    default_steps = 25
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_start("dpmpp-3m", self.start)

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        return adams_bashforth(data_prediction(sde, times), variable=torch.log, order=3, start=self.start)
