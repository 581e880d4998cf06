"""DPM-Solver++(2M): the last two denoised x_0, extrapolated to the middle of the step in log-SNR."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import Multistep, MultistepCoefficients, data_prediction, nodes
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class DPMpp2M(Multistep):
    """x_s = (sigma_s / sigma_t) x_t + sigma_s (1/rho_s - 1/rho_t) ((1 + c) D_t - c D_before), c = h / (2 h_before).

    h and h_before are this step and the one before in lambda = -log rho; the first step is DDIM's.
    Source: Lu et al. 2022b (DPM-Solver++), Algorithm 2.
    """

    order = 2
    default_steps = 25
    default_grid = "log-snr"

    def plan(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        frame = data_prediction(sde, times)
        h = -nodes(frame, torch.log).diff()
        c = torch.cat([torch.zeros_like(h[:1]), h[1:] / (2 * h[:-1])])
        return MultistepCoefficients(frame, frame.clock.diff()[:, None] * torch.stack([1 + c, -c], 1))
