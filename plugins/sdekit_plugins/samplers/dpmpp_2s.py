"""DPM-Solver++(2S): the midpoint method for the denoised x_0, in log-SNR."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import RungeKutta
from sdekit.processes import SDE, FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class DPMpp2S(RungeKutta):
    """x_s = (sigma_s / sigma_t) x_t + sigma_s (1/rho_s - 1/rho_t) D(x_m, m), rho_m^2 = rho_t rho_s: two DDIM steps.

    The first leads to x_m, the second goes from x_t to x_s with the x_0 found there. Two calls a step.
    Source: Lu et al. 2022b (DPM-Solver++), Algorithm 1 with r_1 = 1/2.
    """

    order = 2
    calls_per_step = 2
    default_steps = 18
    default_grid = "log-snr"

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        w = sde.alpha(s) - sde.sigma(s) * sde.alpha(t) / sde.sigma(t)  # all of it at m, nothing at t
        return torch.stack([FlowCoordinates(sde).middle(t, s), s], 1), torch.stack([0 * w, w], 1)[:, :, None]
