"""Heun's method on the probability flow."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import RungeKutta
from sdekit.processes import SDE, FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class Heun(RungeKutta):
    """Heun's method on the probability flow, as EDM's: y_s = y_t + (r_s - r_t) (v_t + v_s) / 2 (`FlowCoordinates`).

    Written as DDIM's step plus a correction, so that no digit is lost at high noise. Two calls a step.
    Source: Karras et al. 2022, Algorithm 1 with S_churn = 0.
    """

    order = 2
    calls_per_step = 2
    default_steps = 18

    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        line = FlowCoordinates.edm(sde)
        # v = x / sigma - scale / sigma D, and DDIM's step to s leaves x / sigma - alpha / sigma D as it was
        w = line.scale(s) * (line.r(t) - line.r(s)) / 2 * line.scale(s) / sde.sigma(s)
        return torch.stack([s, s], 1), torch.stack([0 * w, w], 1)[:, :, None]
