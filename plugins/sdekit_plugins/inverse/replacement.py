"""Replacement: after each step, the measured part of x_s is replaced by the noised measurement."""

from dataclasses import dataclass

from sdekit.inverse import ReplacementSampler


@dataclass(frozen=True)
class Replacement(ReplacementSampler):
    """Replacement: after each step, A x_s becomes alpha_s y plus noise up to standard deviation sigma_s.

    The new x_s is x_s + A^+ (alpha_s y + noise - A x_s), for any linear A; with a mask, this is the earliest inpainting
    with diffusion models. No derivative of the network is needed. The rest of the sample is adapted to the measurement
    only by the next evaluation of the network. The samples are therefore biased, and the bias increases if fewer steps
    are taken.

    Arguments:
        problem: The inverse problem, with a linear operator.
        sampler: Name of a registered one-step sampler.
    Raises:
        InputError: If the sampler has no single step, or the operator is not linear.
    Source:
        Song et al. 2021, appendix on controllable generation.
    """

    default_steps = 200
