"""DPS: diffusion posterior sampling, with the likelihood evaluated at the denoised x_0."""

import math

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Adjoint, LinearizedDenoiser, Problem, posterior_mean_guidance
from sdekit.processes import broadcast

SHORTEST_SHARE = 0.01
"""Mode variance fraction that limits the norm of the change of A(D): at large noise levels to 100 times the norm of the
residual, at the end to the norm of the residual. On random mixtures with few steps, the distance to the posterior is
smaller by a tenth than without a limit; a larger fraction is better with few steps only."""


def dps(problem: Problem, *, strength: float = 4.0) -> Guidance:
    """Diffusion posterior sampling: p(y | x_t) ~ N(y; A(D(x_t)), v I), for any differentiable operator A.

    D(x) + strength Cov[x_0 | x_t] A'* (y - A(D)) / v, with A' the derivative of A and v = max(|y - A(D)|^2 / m,
    noise_std^2) for m measured numbers: the variance is estimated from the residual. As long as v is above noise_std^2,
    this is the gradient of -m log |y - A(D)|. Chung et al. step along the gradient of |y - A(D)|; here, in contrast,
    the change of D depends neither on the number of steps nor on the units. Because the change grows as the residual
    shrinks, `posterior_mean_guidance` limits the norm of the resulting change of A(D): to at most 100 times the norm of
    the residual y - A(D) at large noise levels, and to the norm of the residual at the end.

    Arguments:
        problem: The inverse problem.
        strength: Factor of the change, above 0.
    Returns:
        The guidance.
    Raises:
        InputError: If strength is not positive.
    Source:
        Chung et al. 2023, Algorithm 1.
    """
    if not 0 < strength < math.inf:
        raise InputError(f"dps: strength must be positive, got {strength}")

    def gradient(linearized: LinearizedDenoiser, residual: Tensor, adjoint: Adjoint) -> Tensor:
        variance = residual.flatten(1).square().sum(1) / problem.operator.count
        return adjoint(strength * residual / broadcast(variance.clamp(min=max(problem.noise_std**2, 1e-12)), residual))

    return posterior_mean_guidance(problem, gradient, mode_variance_fraction=SHORTEST_SHARE)
