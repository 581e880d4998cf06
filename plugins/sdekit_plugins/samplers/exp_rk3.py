"""An exponential Runge-Kutta method of third order for the denoised x_0, in log-SNR."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import RungeKutta
from sdekit.processes import SDE

STAGES = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class ExpRK3(RungeKutta):
    """Stages at 1/3, 2/3 and 1 of the step in log rho, each from x_t with D linear through D_t and the stage before.

    x_j = (sigma_j / sigma_t) x_t + sigma_j (w D_t + r (D_before - D_t)), w = int d(1/rho), r = int of the slope. Three
    calls a step; it is DPM-Solver-3 for x_0. From alpha = 0 the step is divided in 1 / rho.
    Source: Hochbruck & Ostermann 2005, section 5.2 with c_2 = 1/3, c_3 = 2/3; Lu et al. 2022a, Algorithm 2.
    """

    order = 3
    calls_per_step = 3
    default_steps = 12
    default_grid = "log-snr"

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        finite, rho_t, rho_s = (sde.alpha(t) > 1e-12)[:, None], sde.rho(t)[:, None], sde.rho(s)[:, None]
        # from alpha = 0 the same in 1 / rho, where D is linear up there: Heun's third-order method
        rho = torch.where(finite, rho_t * (rho_s / rho_t) ** STAGES, rho_s / STAGES)
        times = torch.cat([sde.time(rho[:, 1:3]).clamp(s[:, None], t[:, None]), s[:, None]], 1)
        sigma, clock = sde.sigma(times), 1 / sde.rho(times)
        whole = clock - 1 / rho_t
        past = torch.where(finite, (rho_t / rho[:, 1:]).log(), whole)  # from t to each stage
        area = torch.where(finite, past * clock - whole, whole**2 / 2)  # its integral d(1/rho), by parts
        change = torch.zeros(len(t), 3, 2, dtype=torch.float64)
        for j in (1, 2):
            change[:, j, j - 1] = sigma[:, j] * area[:, j] / past[:, j - 1]
        return times, change
