"""MMPS: moment matching posterior sampling, with the covariance of x_0 from the network's Jacobian."""

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Adjoint, LinearizedDenoiser, Problem, conjugate_gradients, posterior_mean_guidance
from sdekit.processes import broadcast


def mmps(
    problem: Problem, *, iterations: int = 2, tolerance: float = 1e-4, mode_variance_fraction: float = 1.0
) -> Guidance:
    """Moment matching posterior sampling: D + C A* (noise_std^2 I + w A C A*)^-1 (y - A D).

    C = sigma^2 / alpha dD/dx is the covariance of x_0 given x_t. The matrix C is never formed; the inverse is applied
    by conjugate gradients, with one backward pass through the network for each iteration. The method is exact if the
    data are Gaussian and the iterations suffice.

    Arguments:
        problem: The inverse problem, with a linear operator.
        iterations: Largest number of iterations, at least 1; more than 2 or 3 amplify the errors of a trained network.
        tolerance: Iterations end when the residual has shrunk by this factor, at least 0.
        mode_variance_fraction: Share of the data's variance within one mode, in (0, 1]; w is the share of C that
            remains if the mode is known (`LinearizedDenoiser.within_mode`). Below 1, the method finds the right one of
            several modes more often, but is no longer exact for Gaussian data.
    Returns:
        The guidance.
    Raises:
        InputError: If an option is out of range, or the operator is not linear.
    Source:
        Rozet et al. 2024; `mode_variance_fraction` is an addition.
    """
    if iterations < 1 or not tolerance >= 0 or not 0 < mode_variance_fraction <= 1:
        raise InputError(
            "mmps: needs iterations >= 1, tolerance >= 0 and 0 < mode_variance_fraction <= 1, "
            f"got {iterations}, {tolerance} and {mode_variance_fraction}"
        )
    operator, noise_variance = problem.linear("mmps"), problem.noise_std**2

    def gradient(linearized: LinearizedDenoiser, residual: Tensor, adjoint: Adjoint) -> Tensor:
        w = broadcast(linearized.within_mode(mode_variance_fraction), residual)

        def covariance_of_y(v: Tensor) -> Tensor:
            return noise_variance * v + w * operator.apply(linearized.covariance(adjoint(v)))

        return adjoint(conjugate_gradients(covariance_of_y, residual, iterations=iterations, tolerance=tolerance))

    return posterior_mean_guidance(problem, gradient, mode_variance_fraction=mode_variance_fraction)
