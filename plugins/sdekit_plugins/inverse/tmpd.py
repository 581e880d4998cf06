"""TMPD: Tweedie moment projected diffusion, with a variance for each measured number."""

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import MODE_VARIANCE_FRACTION, Adjoint, LinearizedDenoiser, Problem, posterior_mean_guidance
from sdekit.processes import broadcast


def tmpd(problem: Problem, *, mode_variance_fraction: float = MODE_VARIANCE_FRACTION) -> Guidance:
    """Tweedie moment projected diffusion: p(y | x_t) ~ N(y; A D, noise_std^2 I + w diag(A C A* 1)).

    C = sigma^2 / alpha dD/dx is the covariance of x_0 given x_t. The row sums of A C A* approximate the variances; a
    negative row sum counts as 0. The method needs two backward passes through the network for any operator.

    Arguments:
        problem: The inverse problem, with a linear operator.
        mode_variance_fraction: Share of the data's variance within one mode, in (0, 1]; w is the share of C that
            remains if the mode is known (`LinearizedDenoiser.within_mode`). 1 is the published method.
    Returns:
        The guidance.
    Raises:
        InputError: If mode_variance_fraction is out of range, or the operator is not linear.
    Source:
        Boys et al. 2023; `mode_variance_fraction` is an addition.
    """
    if not 0 < mode_variance_fraction <= 1:
        raise InputError(f"tmpd: needs 0 < mode_variance_fraction <= 1, got {mode_variance_fraction}")
    operator = problem.linear("tmpd")
    noise_variance = max(problem.noise_std**2, 1e-12)

    def gradient(linearized: LinearizedDenoiser, residual: Tensor, adjoint: Adjoint) -> Tensor:
        ones = residual.new_ones(residual.shape)
        row_sums = operator.apply(linearized.covariance(adjoint(ones))).clamp(min=0)
        w = broadcast(linearized.within_mode(mode_variance_fraction), residual)
        return adjoint(residual / (noise_variance + w * row_sums))

    return posterior_mean_guidance(problem, gradient, mode_variance_fraction=mode_variance_fraction)
