"""Pseudo-inverse guidance: one variance for x_0 in all directions."""

import math

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Local, Problem, divide, moved


def pigdm(problem: Problem, *, data_std: float = 1.0, strength: float = 1.0) -> Guidance:
    """D + C A* (r^2 A A* + noise_std^2)^-1 (y - A D), r^2 = data_std^2 rho^2 / (data_std^2 + rho^2).

    x_0 given x_t is taken for N(D, r^2 I), and C = sigma^2 / alpha dD/dx: one pass back through the network. Exact
    where the data are normal with the covariance data_std^2 I, data_std > 0. Source: Song et al. 2023 ("Pseudoinverse-
    guided diffusion models for inverse problems"), without the factor r^2 that it puts before the gradient.
    strength: a factor on the move, > 0; more than 1 trusts the measurement beyond the formula: it finds the right one
    of several far modes more often, and is exact nowhere.
    """
    if not (0 < data_std < math.inf and 0 < strength < math.inf):
        raise InputError(f"pigdm: data_std and strength must be positive, got {data_std} and {strength}")
    operator, noise = problem.linear("pigdm"), problem.noise_std**2

    def weigh(local: Local, r: Tensor) -> Tensor:
        return strength * divide(operator, r, local.isotropic(data_std), noise)

    return moved(problem, weigh, bounded=strength <= 1)
