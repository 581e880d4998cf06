"""iPNDM: Adams-Bashforth with the coefficients of equal steps, whatever the grid."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Multistep, MultistepCoefficients, first_step_corrector, noise_prediction
from sdekit.processes import SDE

ADAMS = [[1.0], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]


@dataclass(frozen=True, kw_only=True)
class IPNDM(Multistep):
    """x_s = alpha_s (x_t / alpha_t + (rho_s - rho_t) eps'), eps' = (55 eps_t - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24.

    points: how many evaluations it combines, 1 (DDIM) to 4; the first steps take the row of as many as there are.
    That many is its order where steps in rho are equal; 2 is the most on a grid that changes its step gradually, and 1
    on any other.
    Where alpha reaches 0, the coordinates of `FlowCoordinates` with k = 1 replace x / alpha and rho.
    Source: Zhang & Chen 2023, appendix (iPNDM), after Liu et al. 2022 (PNDM), eq. 12.
    """

    points: int = 4

    order = 1
    default_steps = 25

    def __post_init__(self) -> None:
        if self.points not in range(1, 5):
            raise InputError(f"ipndm: points must be 1, 2, 3 or 4, got {self.points}")

    def plan(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        frame = noise_prediction(sde, times)
        leap = int(frame.rho[0].isinf())  # what was evaluated before a leap from there is too far off to be combined
        rows = [ADAMS[min(max(i - leap, 0) + 1, self.points) - 1] for i in range(len(times) - 1)]
        combined = torch.tensor([row + [0.0] * (self.points - len(row)) for row in rows], dtype=torch.float64)
        return MultistepCoefficients(frame, frame.clock.diff()[:, None] * combined, first_step_corrector(frame))
