"""DPM-Solver++(2M): the last two denoised x_0, extrapolated to the middle of the step in log-SNR."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import Multistep, MultistepCoefficients, data_prediction, nodes
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class DPMpp2M(Multistep):
    """DPM-Solver++(2M): a deterministic second-order multistep method in log-SNR.

        x_s = (sigma_s / sigma_t) x_t + sigma_s (1/rho_s - 1/rho_t) ((1 + c) D_t - c D_u),    c = h / (2 h_u)

    D_u is the denoised x_0 of the step before. In lambda = -log rho, h and h_u are the lengths of this step and of the
    step before. The first step is a DDIM step.

    Source:
        Lu et al. 2022b (DPM-Solver++), Algorithm 2.
    """

    order = 2
    default_steps = 25
    default_grid = "log-snr"

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        form = data_prediction(sde, times)  # d(x / sigma) = x_0 d(1 / rho)
        h = -nodes(form.rho, torch.log).diff()
        c = torch.cat([torch.zeros_like(h[:1]), h[1:] / (2 * h[:-1])])
        return form.coefficients(form.c.diff()[:, None] * torch.stack([1 + c, -c], 1))
