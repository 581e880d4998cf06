"""An exponential Runge-Kutta method of third order for the denoised x_0, in log-SNR."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import RungeKutta, Stage, ddim_weight
from sdekit.processes import SDE

THIRDS = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class ExpRK3(RungeKutta):
    """Exponential Runge-Kutta of third order: DPM-Solver-3 for the denoised x_0, three calls per step.

        x_j = (sigma_j / sigma_t) x_t + sigma_j int D d(1/rho),    j = 1, 2, 3 at 1/3, 2/3 and 1 of the step in log rho

    In the first stage D is D_t. In stages 2 and 3 it is the line in log rho through D_t and the D of the previous
    stage. In a step from alpha = 0, the stages are equally spaced in 1 / rho and D is linear in 1 / rho, which gives
    Heun's third-order method.

    Source:
        Hochbruck & Ostermann 2005, section 5.2 with c_2 = 1/3, c_3 = 2/3; Lu et al. 2022a, Algorithm 2.
    """

    order = 3
    calls_per_step = 3
    default_steps = 12
    default_grid = "log-snr"

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> list[Stage]:
        finite, rho_t, rho_s = (sde.alpha(t) > 1e-12)[:, None], sde.rho(t)[:, None], sde.rho(s)[:, None]
        rho = torch.where(finite, rho_t * (rho_s / rho_t) ** THIRDS, rho_s / THIRDS)[:, 1:]  # of the stages, (n, 3)
        dc = 1 / rho - 1 / rho_t  # each stage's step in c = 1 / rho
        h = torch.where(finite, (rho_t / rho).log(), dc)  # and in the variable of the line
        area = torch.where(finite, h / rho - dc, dc**2 / 2)  # integral of the variable over c, by parts
        times = [sde.time(rho[:, 0]).clamp(s, t), sde.time(rho[:, 1]).clamp(s, t), s]
        w = [ddim_weight(sde, t, u) for u in times]
        slope = [sde.sigma(times[j]) * area[:, j] / h[:, j - 1] for j in (1, 2)]  # weight of D_before - D_t
        return [
            (times[0], [w[0]]),
            (times[1], [w[1] - slope[0], slope[0]]),
            (times[2], [w[2] - slope[1], 0.0, slope[1]]),
        ]
