"""DPM-Solver++(2S): the midpoint method for the denoised x_0, in log-SNR."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.integrators import RungeKutta, Stage, ddim_weight
from sdekit.processes import SDE, FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class DPMpp2S(RungeKutta):
    """DPM-Solver++(2S): the deterministic midpoint method for x_0 in log-SNR, two calls per step.

        x_m = (sigma_m / sigma_t) x_t + (alpha_m - alpha_t sigma_m / sigma_t) D(x_t, t),    rho_m^2 = rho_t rho_s
        x_s = (sigma_s / sigma_t) x_t + (alpha_s - alpha_t sigma_s / sigma_t) D(x_m, m)

    Both are DDIM steps from x_t; the second one uses the x_0 that is denoised at m.

    Source:
        Lu et al. 2022b (DPM-Solver++), Algorithm 1 with r_1 = 1/2.
    """

    order = 2
    calls_per_step = 2
    default_steps = 18
    default_grid = "log-snr"

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> list[Stage]:
        m = FlowCoordinates(sde).middle(t, s)
        return [(m, [ddim_weight(sde, t, m)]), (s, [0.0, ddim_weight(sde, t, s)])]
