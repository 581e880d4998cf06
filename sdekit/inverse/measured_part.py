"""Replacement of the measured part of x_t."""

from __future__ import annotations

from torch import Tensor

from sdekit.processes import SDE

from .linear_solvers import regularized_least_squares
from .problem import Problem


def replace_measured(problem: Problem, sde: SDE, x: Tensor, s: Tensor, z: Tensor) -> Tensor:
    """x (B, *) at s with A x made alpha_s y plus noise of standard deviation sigma_s: x + A^+ (alpha_s y + ... - A x).

    Of the noise, alpha_s noise_std is in y already, and the rest comes from z (B, *); where y's own is the larger, x is
    left as it is. A^+ is the pseudo-inverse, but where A tells so little that y's noise comes to more than 2 sigma_s.
    """
    operator, alpha, sigma = problem.linear("replacement"), sde.alpha(s), sde.sigma(s)
    missing = sigma**2 - (alpha * problem.noise_std) ** 2
    if missing < 0:
        return x
    wanted = alpha * problem.measurement.to(x) + operator.apply(missing.sqrt() * z)
    return x + regularized_least_squares(
        operator, wanted - operator.apply(x), 1.0, 0.0, least=0.25 * float(alpha / sigma * problem.noise_std) ** 2
    )
