"""DPM-Solver-2: the midpoint method on the probability flow, with the middle in log-SNR."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.integrators import RungeKutta, Stage, tableau_stages
from sdekit.processes import SDE, FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class DPM2(RungeKutta):
    """DPM-Solver-2: the deterministic midpoint method with the middle in log-SNR, two calls per step.

        y_s = y_t + (r_s - r_t) v_m,    rho_m^2 = rho_t rho_s

    v_m is the velocity dy/dr at time m, where x_m comes from Euler's step. y and r are x / alpha and sigma / alpha, or
    the coordinates of `sdekit.processes.FlowCoordinates` with k = 1 if alpha vanishes at t_max.

    Source:
        Lu et al. 2022a (DPM-Solver), Algorithm 1 with r_1 = 1/2; Karras et al. 2022's notation as in k-diffusion.
    """

    order = 2
    calls_per_step = 2
    default_steps = 18

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> list[Stage]:
        flow = FlowCoordinates.edm(sde)
        m = flow.middle(t, s)
        part = (flow.r(m) - flow.r(t)) / (flow.r(s) - flow.r(t))
        return tableau_stages(flow, t, [m, s], [[part], [0.0, 1.0]])
