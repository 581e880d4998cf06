"""Pseudo-inverse guidance: one variance for x_0 in all directions."""

import math

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Local, Problem, divide, moved


def pigdm(problem: Problem, *, data_std: float = 1.0) -> Guidance:
    """D + C A* (r^2 A A* + noise_std^2)^-1 (y - A D), r^2 = data_std^2 rho^2 / (data_std^2 + rho^2).

    x_0 given x_t is taken for N(D, r^2 I), and C = sigma^2 / alpha dD/dx: one pass back through the network. Exact where the data are normal with the covariance
    data_std^2 I, data_std > 0. Source: Song et al. 2023, eq. 7 and 9, without the factor of its appendix A.3.
    """
    if not 0 < data_std < math.inf:
        raise InputError(f"pigdm: data_std must be positive, got {data_std}")
    operator, noise = problem.linear("pigdm"), problem.noise_std**2

    def weigh(local: Local, r: Tensor) -> Tensor:
        return divide(operator, r, local.isotropic(data_std), noise)

    return moved(problem, weigh)
