"""Replacement: after each step, what was measured is put in place of what was drawn."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property

from torch import Tensor

from sdekit.errors import InputError
from sdekit.inverse import Problem, replaced
from sdekit.noise import Noise
from sdekit.plugins import make
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True)
class Replacement(Sampler):
    """After each step of any one-step sampler, A x_s becomes alpha_s y plus as much noise as is missing to sigma_s.

    With a mask it is inpainting as in the first works; with any linear A, x_s + A^+ (alpha_s y + noise - A x_s). No
    derivative of the network. What is not measured does not hear of it but through the network's next answer: the
    result is biased, and worse where few steps are taken. sampler: a registered one-step sampler.
    Source: Song et al. 2021, appendix I.2 and I.3.
    """

    problem: Problem
    _: KW_ONLY
    sampler: str = "ddpm"

    stochastic = True
    default_steps = 200

    def __post_init__(self) -> None:
        if type(self._sampler).step is Sampler.step or self._sampler.calls is None:
            raise InputError(f"replacement: {self.sampler!r} has no single step: try 'ddpm'")
        self.problem.linear("replacement")

    @cached_property
    def _sampler(self) -> Sampler:
        sampler: Sampler = make("sampler", self.sampler)
        return sampler

    @property
    def calls(self) -> int:  # type: ignore[override]
        """Of the sampler."""
        return self._sampler.calls or 0

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x = self._sampler.step(sde, denoise, x, t, s, noise)
        return replaced(self.problem, sde, x, s, noise(s, s))
