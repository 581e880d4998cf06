"""Predictor-corrector sampling: a one-step sampler predicts, and Langevin steps correct."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, broadcast
from sdekit.registry import build
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class PC(Sampler):
    """Predictor-corrector: steps of any one-step sampler, each followed by Langevin steps at the new time.

        x <- x + h score(x) + sqrt(2 h) z

    Arguments:
        predictor: Registered one-step sampler.
        corrector: "annealed-langevin" takes h = 2 (snr sigma_s)^2, which keeps p_s in the limit snr -> 0 in any
            dimension. "langevin" takes h = 2 (snr |z| / |score|)^2, with the norms of each sample separately.
        corrections: Langevin steps after each step, at least 0.
        snr: Signal-to-noise ratio of a correction, > 0.

    On Gaussian data, the standard deviation of the samples at 100 network evaluations is 10 to 17% too small with the
    predictor `ddpm`, whose steps are then too long, and 0.3% too large with the default. Song et al. use
    `reverse-diffusion` or `ddpm`, the corrector "langevin", snr = 0.16 and 2,000 evaluations.

    Source:
        Song et al. 2021, Algorithms 2-5, where the norms are means over the batch.
    """

    predictor: str = "exp-rk3"
    corrector: Literal["langevin", "annealed-langevin"] = "annealed-langevin"
    corrections: int = 1
    snr: float = 0.1

    stochastic = True
    default_steps = 25
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.corrections < 0 or not self.snr > 0:
            raise InputError(f"pc: needs corrections >= 0 and snr > 0, got {self.corrections} and {self.snr}")
        if self.corrector not in ("langevin", "annealed-langevin"):
            raise InputError(f"pc: corrector must be 'langevin' or 'annealed-langevin', got {self.corrector!r}")
        if type(self._predictor).step is Sampler.step or self._predictor.calls_per_step is None:
            raise InputError(
                f"pc: {self.predictor!r} cannot be the predictor, because it has no single steps: choose a one-step "
                "sampler such as ddpm"
            )

    @cached_property
    def _predictor(self) -> Sampler:
        predictor: Sampler = build("sampler", self.predictor)
        return predictor

    @property
    def calls_per_step(self) -> int:
        """Calls of the predictor and one per correction."""
        return (self._predictor.calls_per_step or 0) + self.corrections

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x = self._predictor.step(sde, denoise, x, t, s, noise)
        for _ in range(self.corrections):
            score, z = sde.score(x, denoise(x, s), s), noise(s, s)
            length = sde.sigma(s) if self.corrector == "annealed-langevin" else _norm(z) / _norm(score)
            h = 2 * (self.snr * length) ** 2
            x = x + broadcast(h, x) * score + broadcast((2 * h).sqrt(), x) * z
        return x


def _norm(x: Tensor) -> Tensor:
    """Return the norm of each sample, (B,)."""
    return x.flatten(1).square().sum(1).sqrt()
