"""Pseudo-inverse guidance: one variance for x_0 in all directions."""

import math

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import (
    MODE_VARIANCE_FRACTION,
    LinearizedDenoiser,
    Problem,
    Pull,
    posterior_mean_guidance,
    regularized_least_squares,
)


def pigdm(problem: Problem, *, data_std: float | None = None, within: float | None = None) -> Guidance:
    """D + C A* (w r^2 A A* + noise_std^2)^-1 (y - A D), r^2 = data_std^2 rho^2 / (data_std^2 + rho^2).

    x_0 given x_t is taken for N(D, w r^2 I), and C = sigma^2 / alpha dD/dx: one pass back through the network.
    data_std: of data that are one Gaussian N(m, data_std^2 I), on which it is exact, > 0; not told: 1, as in the paper.
    within: the share of the data's variance that lies within one mode, above 0, at most 1, and w what that leaves of
    r^2 (`Local.narrowed`); not told: 1 with a data_std, and 0.1 without.
    Source: Song et al. 2023 ("Pseudoinverse-guided diffusion models for inverse problems"), without the factor r^2 and
    the length of step there, which make its strength depend on the number of steps; `within` is not of theirs.
    """
    share = within if within is not None else MODE_VARIANCE_FRACTION if data_std is None else 1.0
    std = 1.0 if data_std is None else data_std
    if not (0 < std < math.inf and 0 < share <= 1):
        raise InputError(f"pigdm: needs data_std > 0 and 0 < within <= 1, got {std} and {share}")
    operator, noise = problem.linear("pigdm"), problem.noise_std**2

    def weigh(local: LinearizedDenoiser, r: Tensor, pull: Pull) -> Tensor:
        return regularized_least_squares(operator, r, local.isotropic(std) * local.narrowed(share), noise)

    return posterior_mean_guidance(problem, weigh, within=share)
