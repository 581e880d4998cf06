"""iPNDM: Adams-Bashforth with the coefficients of equal steps, on any grid."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Multistep, MultistepCoefficients, first_step_corrector, noise_prediction
from sdekit.processes import SDE

ADAMS = [[1.0], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]


@dataclass(frozen=True, kw_only=True)
class IPNDM(Multistep):
    """iPNDM: a deterministic multistep method with the Adams-Bashforth coefficients of equal steps.

        x_s = alpha_s (x_t / alpha_t + (rho_s - rho_t) (55 eps_t - 59 eps_1 + 37 eps_2 - 9 eps_3) / 24)

    eps_1, eps_2, eps_3 are the values of eps at the times before t. The first steps use the shorter Adams-Bashforth
    rows. The order is `points` if the steps in rho are equal, at most 2 if the steps change gradually along the grid,
    and 1 on any other grid. If alpha reaches 0 at t_max, x / alpha and rho are replaced by the coordinates of
    `sdekit.processes.FlowCoordinates` with k = 1.

    Arguments:
        points: Number of values of eps, 1 (DDIM) to 4.
    Source:
        Zhang & Chen 2023, appendix (iPNDM), after Liu et al. 2022 (PNDM), eq. 12.
    """

    points: int = 4

    order = 1
    default_steps = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points not in range(1, 5):
            raise InputError(f"ipndm: points must be 1, 2, 3 or 4, got {self.points}")

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        form = noise_prediction(sde, times)
        first = int(form.rho[0].isinf())  # the value at rho = inf is too far away to be combined with others
        rows = [ADAMS[min(max(i - first, 0) + 1, self.points) - 1] for i in range(len(times) - 1)]
        weights = torch.tensor([row + [0.0] * (self.points - len(row)) for row in rows], dtype=torch.float64)
        return form.coefficients(form.c.diff()[:, None] * weights, first_step_corrector(form))
