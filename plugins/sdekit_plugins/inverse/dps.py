"""Diffusion posterior sampling: the likelihood at the denoised x_0."""

import math

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import LinearizedDenoiser, Problem, Pull, posterior_mean_guidance
from sdekit.processes import broadcast

REACH = 0.01
"""Holds a move to 100 times the residual at most, where rho is large, and to once at the end (see `moved`). On random
mixtures nearer the posterior than no hold, in few steps by a tenth; a larger share is better in few steps alone."""


def dps(problem: Problem, *, strength: float = 4.0) -> Guidance:
    """p(y | x_t) ~ N(y; A(D(x_t)), v I): D(x) + strength Cov[x_0 | x_t] A'* (y - A(D)) / v, for any differentiable A.

    v = max(|y - A(D)|^2 / m, noise_std^2), m numbers measured: the residual tells its own variance. Then grad log p
    is that of -m log |y - A(D)|, Chung et al.'s step along grad |y - A(D)|, but with a length that depends neither on
    the number of steps nor on the units. It grows as the residual shrinks, so that it is held to what A(D) and y are
    apart: many times that where there is only noise, once at the end. strength: a factor, > 0.
    Source: Chung et al. 2023, Algorithm 1.
    """
    if not 0 < strength < math.inf:
        raise InputError(f"dps: strength must be positive, got {strength}")

    def weigh(local: LinearizedDenoiser, r: Tensor, pull: Pull) -> Tensor:
        variance = r.flatten(1).square().sum(1) / problem.operator.count
        return pull(strength * r / broadcast(variance.clamp(min=max(problem.noise_std**2, 1e-12)), r))

    return posterior_mean_guidance(problem, weigh, within=REACH)
