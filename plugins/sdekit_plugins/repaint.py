"""RePaint: replacement, with each step taken several times over."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property

from torch import Tensor

from sdekit.diffuse import diffuse
from sdekit.errors import InputError
from sdekit.inverse import Problem, replaced
from sdekit.noise import Noise
from sdekit.plugins import make
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True)
class RePaint(Sampler):
    """A step down and the measurement put in place, then noise back up and down again, `repeats` times in all.

    Going up and down brings what was drawn into harmony with what was measured, which `replacement` alone (repeats 1)
    does not; each time costs a call. No derivative of the network. repeats: >= 1. sampler: a registered one-step
    sampler. Source: Lugmayr et al. 2022, Algorithm 1, with jumps of length 1.
    """

    problem: Problem
    _: KW_ONLY
    repeats: int = 5
    sampler: str = "ddpm"

    stochastic = True
    default_steps = 50

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise InputError(f"repaint: repeats must be at least 1, got {self.repeats}")
        if type(self._sampler).step is Sampler.step or self._sampler.calls is None:
            raise InputError(f"repaint: {self.sampler!r} has no single step: try 'ddpm'")
        self.problem.linear("repaint")

    @cached_property
    def _sampler(self) -> Sampler:
        sampler: Sampler = make("sampler", self.sampler)
        return sampler

    @property
    def calls(self) -> int:  # type: ignore[override]
        """Of the sampler, each time."""
        return (self._sampler.calls or 0) * self.repeats

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        for again in range(self.repeats):
            x_t = diffuse(sde, x, s, t, noise()) if again else x
            x = replaced(self.problem, sde, self._sampler.step(sde, denoise, x_t, t, s, noise), s, noise(s, s))
        return x
