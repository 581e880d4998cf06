"""Tweedie moment projected diffusion: the variance of each measured number from one pass back."""

import math

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Local, Problem, moved


def tmpd(problem: Problem, *, strength: float = 1.0) -> Guidance:
    """p(y | x_t) ~ N(y; A D, noise_std^2 I + diag(A C A* 1)), C = sigma^2 / alpha dD/dx: row sums for the variances.

    Two passes back through the network in all, whatever is measured. A row sum may be negative where a variance is not:
    it counts as 0. strength: a factor on the move, > 0, as for pigdm. Source: Boys et al. 2023.
    """
    if not 0 < strength < math.inf:
        raise InputError(f"tmpd: strength must be positive, got {strength}")
    operator = problem.linear("tmpd")
    noise = max(problem.noise_std**2, 1e-12)

    def weigh(local: Local, r: Tensor) -> Tensor:
        rows = operator.apply(local.cov(operator.adjoint(r.new_ones(r.shape))))
        return strength * r / (noise + rows.clamp(min=0))

    return moved(problem, weigh, bounded=strength <= 1)
