"""Moment matching posterior sampling: the covariance of x_0 from the network's own Jacobian."""

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import LinearizedDenoiser, Problem, Pull, conjugate_gradients, posterior_mean_guidance
from sdekit.processes import broadcast


def mmps(problem: Problem, *, iterations: int = 2, tolerance: float = 1e-4, within: float = 1.0) -> Guidance:
    """D + C A* (noise_std^2 + w A C A*)^-1 (y - A D), C = sigma^2 / alpha dD/dx the covariance of x_0 given x_t.

    The full covariance, never formed: conjugate gradients, each with one pass back through the network. Exact where the
    data are normal and the iterations suffice. iterations: of them at most, >= 1; more than 2 or 3 follow the errors of
    a trained network's slope. They end when the residual has shrunk by `tolerance`. within: the share of the data's
    variance that lies within one mode, above 0, at most 1, and w what that leaves of C (`Local.narrowed`): below 1 it
    finds the right one of several modes more often, and is exact nowhere.
    Source: Rozet et al. 2024; `within` is not of theirs.
    """
    if iterations < 1 or not tolerance >= 0 or not 0 < within <= 1:
        raise InputError(
            "mmps: needs iterations >= 1, tolerance >= 0 and 0 < within <= 1, "
            f"got {iterations}, {tolerance} and {within}"
        )
    operator, noise = problem.linear("mmps"), problem.noise_std**2

    def weigh(local: LinearizedDenoiser, r: Tensor, pull: Pull) -> Tensor:
        width = broadcast(local.narrowed(within), r)
        return pull(
            conjugate_gradients(
                lambda v: noise * v + width * operator.apply(local.cov(pull(v))),
                r,
                iterations=iterations,
                tolerance=tolerance,
            )
        )

    return posterior_mean_guidance(problem, weigh, within=within)
