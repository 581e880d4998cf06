"""Moment matching posterior sampling: the covariance of x_0 from the network's own Jacobian."""

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Local, Problem, moved, solve


def mmps(problem: Problem, *, iterations: int = 2, tolerance: float = 1e-4) -> Guidance:
    """D + C A* (noise_std^2 + A C A*)^-1 (y - A D), C = sigma^2 / alpha dD/dx the covariance of x_0 given x_t.

    The full covariance, never formed: conjugate gradients, each with one pass back through the network. Exact where the
    data are normal and the iterations suffice. iterations: of them at most, >= 1; more than 2 or 3 follow the errors of
    a trained network's slope. They end when the residual has shrunk by `tolerance`.
    Source: Rozet et al. 2024, section 4.2.
    """
    if iterations < 1 or not tolerance >= 0:
        raise InputError(f"mmps: needs iterations >= 1 and tolerance >= 0, got {iterations} and {tolerance}")
    operator, noise = problem.linear("mmps"), problem.noise_std**2

    def weigh(local: Local, r: Tensor) -> Tensor:
        return solve(
            lambda v: noise * v + operator.apply(local.cov(operator.adjoint(v))),
            r,
            iterations=iterations,
            tolerance=tolerance,
        )

    return moved(problem, weigh)
