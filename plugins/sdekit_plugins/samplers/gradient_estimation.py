"""Gradient estimation: DDIM with a better estimate of the direction to the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Multistep, MultistepCoefficients, noise_prediction
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class GradientEstimation(Multistep):
    """Gradient estimation: DDIM that extrapolates the predicted noise from its last two values.

        x_s = alpha_s (x_t / alpha_t + (rho_s - rho_t) (gamma eps_t + (1 - gamma) eps_u))

    eps_u is the value of the step before. The direction to the nearest data point is the gradient of half its squared
    distance; with gamma > 1, this direction is estimated from two consecutive evaluations. The order is 1.

    Arguments:
        gamma: Weight of the newest value, at least 1; 1 is DDIM, 2 the paper's choice.
    Source:
        Permenter & Yuan 2023, Algorithm 2.
    """

    gamma: float = 2.0

    order = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gamma >= 1:
            raise InputError(f"gradient-estimation: gamma must be at least 1 (DDIM), got {self.gamma}")

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        form = noise_prediction(sde, times)
        gamma = torch.full((len(times) - 1,), self.gamma, dtype=torch.float64)
        gamma[0] = 1  # the first step has no value before
        return form.coefficients(form.c.diff()[:, None] * torch.stack([gamma, 1 - gamma], 1))
