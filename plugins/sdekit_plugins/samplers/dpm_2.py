"""DPM-Solver-2: the midpoint method on the probability flow, with the middle in log-SNR."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import RungeKutta
from sdekit.processes import SDE, FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class DPM2(RungeKutta):
    """y_s = y_t + (r_s - r_t) v_m, v_m the velocity (`FlowCoordinates`) at a time m with rho_m^2 = rho_t rho_s.

    x_m comes from DDIM's step. Two calls a step.
    Source: Lu et al. 2022a (DPM-Solver), Algorithm 1 with r_1 = 1/2; Karras et al. 2022's notation as in k-diffusion.
    """

    order = 2
    calls_per_step = 2
    default_steps = 18

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        line = FlowCoordinates.edm(sde)
        m = line.middle(t, s)
        w = line.scale(s) * (line.r(t) - line.r(s)) * line.scale(m) / sde.sigma(m)
        return torch.stack([m, s], 1), torch.stack([0 * w, w], 1)[:, :, None]
