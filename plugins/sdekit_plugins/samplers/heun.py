"""Heun's method on the probability flow."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.integrators import RungeKutta, Stage, tableau_stages
from sdekit.processes import SDE, FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class Heun(RungeKutta):
    """Heun's method: EDM's deterministic second-order sampler, two calls per step.

        y_s = y_t + (r_s - r_t) (v_t + v_s) / 2,    v_s the velocity dy/dr at the end of Euler's step

    y and r are x / alpha and sigma / alpha, or the coordinates of `sdekit.processes.FlowCoordinates` with k = 1 if
    alpha vanishes at t_max.

    Source:
        Karras et al. 2022, Algorithm 1 with S_churn = 0.
    """

    order = 2
    calls_per_step = 2
    default_steps = 18

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> list[Stage]:
        return tableau_stages(FlowCoordinates.edm(sde), t, [s, s], [[1.0], [1 / 2, 1 / 2]])
