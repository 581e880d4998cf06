"""PiGDM: pseudo-inverse guidance, with one variance of x_0 for all directions."""

import math

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import (
    MODE_VARIANCE_FRACTION,
    Adjoint,
    LinearizedDenoiser,
    Problem,
    posterior_mean_guidance,
    regularized_least_squares,
)


def pigdm(problem: Problem, *, data_std: float | None = None, mode_variance_fraction: float | None = None) -> Guidance:
    """Pseudo-inverse guidance: D + C A* (w r^2 A A* + noise_std^2 I)^-1 (y - A D).

    r^2 = data_std^2 rho^2 / (data_std^2 + rho^2): x_0 given x_t is approximated by N(D, w r^2 I). C = sigma^2 / alpha
    dD/dx costs one backward pass through the network.

    Arguments:
        problem: The inverse problem, with a linear operator.
        data_std: Standard deviation of the data, above 0, if their distribution is one Gaussian N(m, data_std^2 I), for
            which the method is exact. None for other data; the value is then 1, as in the paper.
        mode_variance_fraction: Share of the data's variance within one mode, in (0, 1]; w is the share of r^2 that
            remains if the mode is known (`LinearizedDenoiser.within_mode`). None means 1 if data_std is given, and 0.1
            otherwise.
    Returns:
        The guidance.
    Raises:
        InputError: If an option is out of range, or the operator is not linear.
    Source:
        Song et al. 2023 ("Pseudoinverse-guided diffusion models for inverse problems"), without their factor r^2 and
        their step length, which make the strength depend on the number of steps; `mode_variance_fraction` is an
        addition.
    """
    fraction = mode_variance_fraction
    if fraction is None:
        fraction = MODE_VARIANCE_FRACTION if data_std is None else 1.0
    std = 1.0 if data_std is None else data_std
    if not (0 < std < math.inf and 0 < fraction <= 1):
        raise InputError(f"pigdm: needs data_std > 0 and 0 < mode_variance_fraction <= 1, got {std} and {fraction}")
    operator, noise_variance = problem.linear("pigdm"), problem.noise_std**2

    def gradient(linearized: LinearizedDenoiser, residual: Tensor, adjoint: Adjoint) -> Tensor:
        variance = linearized.gaussian_variance(std) * linearized.within_mode(fraction)
        return regularized_least_squares(operator, residual, variance, noise_variance)

    return posterior_mean_guidance(problem, gradient, mode_variance_fraction=fraction)
