"""Tweedie moment projected diffusion: the variance of each measured number from one pass back."""

from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import MODE_VARIANCE_FRACTION, LinearizedDenoiser, Problem, Pull, posterior_mean_guidance
from sdekit.processes import broadcast


def tmpd(problem: Problem, *, within: float = MODE_VARIANCE_FRACTION) -> Guidance:
    """p(y | x_t) ~ N(y; A D, noise_std^2 I + w diag(A C A* 1)), C = sigma^2 / alpha dD/dx: row sums for the variances.

    Two passes back through the network in all, whatever is measured. A row sum may be negative where a variance is not:
    it counts as 0. within: the share of the data's variance that lies within one mode, above 0, at most 1, and w what
    that leaves of C (`Local.narrowed`); 1 is the published method.
    Source: Boys et al. 2023; `within` is not of theirs.
    """
    if not 0 < within <= 1:
        raise InputError(f"tmpd: needs 0 < within <= 1, got {within}")
    operator = problem.linear("tmpd")
    noise = max(problem.noise_std**2, 1e-12)

    def weigh(local: LinearizedDenoiser, r: Tensor, pull: Pull) -> Tensor:
        rows = operator.apply(local.cov(pull(r.new_ones(r.shape)))).clamp(min=0)
        return pull(r / (noise + broadcast(local.narrowed(within), r) * rows))

    return posterior_mean_guidance(problem, weigh, within=within)
