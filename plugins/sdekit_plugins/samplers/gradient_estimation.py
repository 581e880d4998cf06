"""Gradient estimation: DDIM with a better guess at the direction to the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Multistep, MultistepCoefficients, noise_prediction
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class GradientEstimation(Multistep):
    """x_s = alpha_s (x_t / alpha_t + (rho_s - rho_t) (gamma eps_t + (1 - gamma) eps_before)).

    The direction to the nearest data point is the gradient of half its squared distance; that of two evaluations in a
    row is estimated by going past the newer one. gamma: 1 is DDIM, 2 the paper's choice. Of first order.
    Source: Permenter & Yuan 2023, Algorithm 2.
    """

    gamma: float = 2.0

    order = 1

    def __post_init__(self) -> None:
        if not self.gamma >= 1:
            raise InputError(f"gradient-estimation: gamma must be at least 1 (DDIM), got {self.gamma}")

    def plan(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        frame = noise_prediction(sde, times)
        past = torch.full((len(times) - 1,), self.gamma - 1, dtype=torch.float64)
        past[0] = 0  # nothing is known before the first step
        return MultistepCoefficients(frame, frame.clock.diff()[:, None] * torch.stack([1 + past, -past], 1))
