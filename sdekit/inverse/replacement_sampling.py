"""Samplers that replace the measured part of x after each step of another sampler."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.inverse.operators import LinearOperator
from sdekit.processes import SDE, Denoiser, diffuse
from sdekit.registry import build
from sdekit.sampling import Noise, Sampler

from .linear_solvers import regularized_least_squares
from .problem import Problem


def replace_measured(problem: Problem, sde: SDE, x: Tensor, s: Tensor, z: Tensor) -> Tensor:
    """Replace A x by alpha_s y plus noise of standard deviation sigma_s: x + A^+ (alpha_s y + noise - A x).

    y itself already contains noise of standard deviation noise_std / |A| in the units of x, so that only the missing
    noise is added. A^+ is the pseudo-inverse, restricted to the directions in which it does not amplify the noise of y
    to more than 2 sigma_s.

    Arguments:
        problem: Inverse problem with a linear operator A.
        sde: The process.
        x: Samples at s, (B, *).
        s: Time, ().
        z: Standard normal noise, (B, *).
    Returns:
        Samples at s, (B, *); x itself if alpha_s noise_std / |A| is larger than sigma_s.
    """
    operator, alpha, sigma = problem.linear("replacement"), sde.alpha(s), sde.sigma(s)
    missing_variance = sigma**2 - (alpha * problem.noise_std) ** 2 / _squared_norm(operator, x)
    if missing_variance < 0:
        return x
    target = alpha * problem.measurement.to(x) + operator.apply(missing_variance.sqrt() * z)
    least_gain = 0.25 * float(alpha / sigma * problem.noise_std) ** 2
    return x + regularized_least_squares(operator, target - operator.apply(x), 1.0, 0.0, least_gain=least_gain)


def _squared_norm(operator: LinearOperator, x: Tensor) -> float:
    """Return |A|^2, the largest squared singular value, by 8 power iterations."""
    v = torch.randn(1, *x.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x)
    gain = 1.0
    for _ in range(8):
        image = operator.apply(v / v.norm())
        v, gain = operator.adjoint(image), float(image.square().sum())
        if not gain > 0:
            return 1.0
    return gain


@dataclass(frozen=True)
class ReplacementSampler(Sampler):
    """Base class of samplers that step down, replace the measured part of x_s, and may repeat the step.

    Each repetition first adds the noise of the step again. The operator must be linear.

    Arguments:
        problem: The inverse problem.
        sampler: Name of a registered one-step sampler.
    Raises:
        InputError: If the sampler has no single step, or the operator is not linear.
    """

    problem: Problem
    _: KW_ONLY
    sampler: str = "ddpm"

    repeats = 1
    stochastic = True

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__.lower()
        if self.repeats < 1:
            raise InputError(f"{name}: repeats must be at least 1, got {self.repeats}")
        if type(self._sampler).step is Sampler.step or self._sampler.calls_per_step is None:
            raise InputError(f"{name}: {self.sampler!r} has no single step: try 'ddpm'")
        self.problem.linear(name)

    @cached_property
    def _sampler(self) -> Sampler:
        sampler: Sampler = build("sampler", self.sampler)
        return sampler

    @property
    def calls_per_step(self) -> int:
        """Network evaluations per step: those of the sampler times the number of repetitions."""
        return (self._sampler.calls_per_step or 0) * self.repeats

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        for repetition in range(self.repeats):
            if repetition:
                x_t, step_noise = diffuse(sde, x, s, t, noise()), lambda *_: noise()
            else:  # only the first step down uses the increment of a Brownian path
                x_t, step_noise = x, noise
            x_s = self._sampler.step(sde, denoise, x_t, t, s, step_noise)
            x = replace_measured(self.problem, sde, x_s, s, noise(s, s))
        return x
