"""Replacement: after each step, what was measured is put in place of what was drawn."""

from dataclasses import dataclass

from sdekit.inverse import ReplacementSampler


@dataclass(frozen=True)
class Replacement(ReplacementSampler):
    """After each step of any one-step sampler, A x_s becomes alpha_s y plus as much noise as is missing to sigma_s.

    With a mask it is inpainting as in the first works; with any linear A, x_s + A^+ (alpha_s y + noise - A x_s). No
    derivative of the network. What is not measured does not hear of it but through the network's next answer: the
    result is biased, and worse where few steps are taken. sampler: a registered one-step sampler.
    Source: Song et al. 2021, appendix on controllable generation.
    """

    default_steps = 200
