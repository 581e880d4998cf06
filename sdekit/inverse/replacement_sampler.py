"""Samplers that take another's steps and put what was measured in place after each of them."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property

from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, diffuse
from sdekit.registry import build
from sdekit.sampling import Noise, Sampler

from .measured_part import replace_measured
from .problem import Problem


@dataclass(frozen=True)
class ReplacementSampler(Sampler):
    """A step down and A x_s replaced, then noise back up and down again, `repeats` times in all; A linear.

    sampler: a registered one-step sampler. Raises InputError for another, and for an operator that is not linear.
    """

    problem: Problem
    _: KW_ONLY
    sampler: str = "ddpm"

    repeats = 1
    stochastic = True

    def __post_init__(self) -> None:
        who = type(self).__name__.lower()
        if self.repeats < 1:
            raise InputError(f"{who}: repeats must be at least 1, got {self.repeats}")
        if type(self._sampler).step is Sampler.step or self._sampler.calls_per_step is None:
            raise InputError(f"{who}: {self.sampler!r} has no single step: try 'ddpm'")
        self.problem.linear(who)

    @cached_property
    def _sampler(self) -> Sampler:
        sampler: Sampler = build("sampler", self.sampler)
        return sampler

    @property
    def calls_per_step(self) -> int:
        """Of the sampler, each time."""
        return (self._sampler.calls_per_step or 0) * self.repeats

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        for again in range(self.repeats):
            x_t = diffuse(sde, x, s, t, noise()) if again else x
            own = (lambda *_: noise()) if again else noise  # a path goes down once
            x = replace_measured(self.problem, sde, self._sampler.step(sde, denoise, x_t, t, s, own), s, noise(s, s))
        return x
