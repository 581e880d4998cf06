"""Multistep exponential integrators of the reverse SDE: what the stochastic samplers that remember have in common.

In x / alpha and rho = sigma / alpha, each reverse SDE that keeps the marginals is known by one function phi(rho), which
says how fast old noise is forgotten (Cui et al. 2023, eq. 9-12). With psi = phi / rho, keep = psi(rho_s) / psi(rho_t):

    x_s / alpha_s = keep (rho_s / rho_t) x_t / alpha_t + phi(rho_s) int D d(1 / phi) + rho_s sqrt(1 - keep^2) z.

phi = rho is the probability flow, phi = rho^2 the reverse SDE. The denoised D is interpolated through its last values,
as in `multistep.py`, so that the integral is a sum of weights that only the times decide. Where alpha is 0, nothing
is 0/0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise

from .multistep import IntegralForm, Variable, add_weighted, data_prediction, polynomial_weights

LARGEST_ETA = 4.0
"""Of `Power`: rho^(1 + eta^2) and its inverse stay within float64 at every noise level of any process."""


def check_eta(sampler: str, eta: float, name: str = "eta") -> None:
    """InputError, naming the sampler and its option, for an eta that `Power` does not take."""
    if not 0 <= eta <= LARGEST_ETA:
        raise InputError(
            f"{sampler}: {name} must be between 0 (deterministic) and {LARGEST_ETA:g}, 1 is the SDE, got {eta}"
        )


class NoiseScaling(Protocol):
    """phi(rho) and what the integrals need of it; rho float64, in (0, inf], phi / rho not decreasing."""

    def phi(self, rho: Tensor) -> Tensor:
        """phi, increasing, shape of rho."""
        ...

    def inverse(self, phi: Tensor) -> Tensor:
        """The rho with that phi, shape of phi."""
        ...

    def keep(self, s: Tensor, t: Tensor) -> Tensor:
        """psi(s) / psi(t) for rho s < t, in [0, 1], with psi = phi / rho; t may be inf."""
        ...


@dataclass(frozen=True)
class PowerNoiseScaling:
    """phi = rho^(1 + eta^2): eta times the noise of the reverse SDE (Xue et al. 2023, eq. 6, there tau)."""

    eta: float

    def phi(self, rho: Tensor) -> Tensor:
        """rho^(1 + eta^2)."""
        return rho ** (1 + self.eta**2)

    def inverse(self, phi: Tensor) -> Tensor:
        """phi^(1 / (1 + eta^2))."""
        return phi ** (1 / (1 + self.eta**2))

    def keep(self, s: Tensor, t: Tensor) -> Tensor:
        """(s / t)^(eta^2)."""
        return (s / t) ** self.eta**2


def exponential_step(sde: SDE, t: Tensor, s: Tensor, forget: NoiseScaling) -> tuple[Tensor, Tensor, Tensor]:
    """Of x_t, x_0 and z in the step that is exact where x_0 stays the same, each with the shape of t and s:

    x_s = (sigma_s / sigma_t) keep x_t + alpha_s (1 - keep rho_s / rho_t) x_0 + sigma_s sqrt(1 - keep^2) z.
    """
    rho_t, rho_s = sde.rho(t), sde.rho(s)
    keep = forget.keep(rho_s, rho_t)
    fresh = sde.sigma(s) * ((1 - keep) * (1 + keep)).sqrt()
    return sde.sigma(s) / sde.sigma(t) * keep, sde.alpha(s) * (1 - keep * rho_s / rho_t), fresh


@dataclass(frozen=True)
class StochasticCoefficients:
    """Coefficients of a whole run: x_s = old x_t + sum_j weights[j] D_j + fresh z, the newest D first; a row a step.

    corrector: as weights, with the D at s in front. Once it is known, the step is repeated with the same noise, at no
    further call; the last step has no later call and is not.
    """

    old: list[float]
    weights: list[list[float]]
    fresh: list[float]
    corrector: list[list[float]] | None = None

    def run(self, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        """x (B, *) at times[0] to x at times[1:], one after the other, each as predicted; no noise where fresh is 0."""
        width = max(map(len, (self.corrector or []) + self.weights), default=0)
        past, base = list[Tensor](), x
        for i, (t, s) in enumerate(pairwise(times.unbind())):
            past = [q := denoise(x, t), *past[: width - 1]]
            if i and self.corrector:
                x = add_weighted(base, self.corrector[i - 1], past)
            base = x * self.old[i]
            if self.fresh[i]:
                base.add_(noise(t, s), alpha=self.fresh[i])
            if self.corrector:  # base is needed once more
                x = add_weighted(torch.add(base, q, alpha=self.weights[i][0]), self.weights[i][1:], past[1:])
            else:
                x = add_weighted(base, self.weights[i], past)
            yield x


def sde_multistep_coefficients(
    sde: SDE, times: Tensor, forget: NoiseScaling, order: int, *, corrector: int = 0, warp: Variable = torch.log
) -> StochasticCoefficients:
    """All coefficients for the times (n + 1,), decreasing, float64, on the CPU.

    order: how many values of D the polynomial in warp(rho) goes through, fewer while there are no more. corrector: the
    same for the corrector, the value at s included; 0 is none. Source: Xue et al. 2023, eq. 14-18.
    """
    alpha = sde.alpha(times)
    sigma = sde.sigma(times)
    rho = sigma / alpha
    keep = forget.keep(rho[1:], rho[:-1])
    frame = IntegralForm(
        alpha, 1 / forget.phi(rho), None, None, data_prediction(sde, times).rho, lambda clock: forget.inverse(1 / clock)
    )
    scale = (alpha[1:] / frame.clock[1:])[:, None]
    corrected = (scale * polynomial_weights(frame, warp, corrector, ahead=True)).tolist() if corrector else None
    fresh = sigma[1:] * ((1 - keep) * (1 + keep)).sqrt()
    predicted = (scale * polynomial_weights(frame, warp, order)).tolist()
    return StochasticCoefficients((sigma[1:] / sigma[:-1] * keep).tolist(), predicted, fresh.tolist(), corrected)
