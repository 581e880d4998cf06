"""Multistep exponential integrators of the reverse SDE, shared by the stochastic samplers that use earlier steps.

In x / alpha and rho = sigma / alpha, every reverse SDE that keeps the marginals is given by one function phi(rho), its
noise scaling (Cui et al. 2023, eq. 9-12). With psi = phi / rho and decay = psi(rho_s) / psi(rho_t),

    x_s / alpha_s = decay (rho_s / rho_t) x_t / alpha_t + phi(rho_s) int D d(1 / phi) + rho_s sqrt(1 - decay^2) z.

With phi = rho this is the probability flow, and with phi = rho^2 the reverse SDE. As in `multistep.py`, the denoised D
is replaced by the polynomial through its last values, so that the integral is a weighted sum of these values. No term
becomes 0 / 0 where alpha is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE

from .multistep import IntegralForm, MultistepCoefficients, Variable, grid_rho, polynomial_weights

LARGEST_ETA = 4.0
"""Upper limit of eta: rho^(1 + eta^2) and its inverse stay within float64 at every noise level of any process."""


def check_eta(sampler: str, eta: float, name: str = "eta") -> None:
    """Check the noise option of a sampler.

    Arguments:
        sampler: Registered name, for the message.
        eta: Value of the option.
        name: Name of the option.
    Raises:
        InputError: If eta is not between 0 and `LARGEST_ETA`.
    """
    if not 0 <= eta <= LARGEST_ETA:
        raise InputError(
            f"{sampler}: {name} must be between 0 (deterministic) and {LARGEST_ETA:g} (1 is the SDE), got {eta}"
        )


class NoiseScaling(Protocol):
    """The function phi(rho) that determines how much noise a reverse SDE adds.

    rho is float64, in (0, inf]. phi(rho) / rho must not decrease with rho.
    """

    def phi(self, rho: Tensor) -> Tensor:
        """Return phi(rho), an increasing function, with the shape of rho."""
        ...

    def inverse(self, phi: Tensor) -> Tensor:
        """Return the rho at which phi(rho) has the given values, with the shape of phi."""
        ...

    def decay(self, rho_s: Tensor, rho_t: Tensor) -> Tensor:
        """Return psi(rho_s) / psi(rho_t), in [0, 1], with psi = phi / rho and rho_s < rho_t; rho_t may be inf."""
        ...


@dataclass(frozen=True)
class PowerNoiseScaling:
    """phi = rho^(1 + eta^2), the scaling of eta times the noise of the reverse SDE.

    Arguments:
        eta: Standard deviation of the noise relative to the noise of the reverse SDE, in [0, LARGEST_ETA].
    Source:
        Xue et al. 2023, eq. 6, with eta called tau.
    """

    eta: float

    def phi(self, rho: Tensor) -> Tensor:
        """Return rho^(1 + eta^2)."""
        return rho ** (1 + self.eta**2)

    def inverse(self, phi: Tensor) -> Tensor:
        """Return phi^(1 / (1 + eta^2))."""
        return phi ** (1 / (1 + self.eta**2))

    def decay(self, rho_s: Tensor, rho_t: Tensor) -> Tensor:
        """Return (rho_s / rho_t)^(eta^2)."""
        return (rho_s / rho_t) ** self.eta**2


def exponential_step(sde: SDE, t: Tensor, s: Tensor, scaling: NoiseScaling) -> tuple[Tensor, Tensor, Tensor]:
    """Return the coefficients of the step from t to s that is exact for a constant x_0.

        x_s = (sigma_s / sigma_t) decay x_t + alpha_s (1 - decay rho_s / rho_t) x_0 + sigma_s sqrt(1 - decay^2) z

    Arguments:
        sde: Process.
        t: Start of each step, any shape.
        s: End of each step, shape of t, s < t.
        scaling: Noise scaling of the reverse SDE.
    Returns:
        Weights of x_t, x_0 and z, each with the shape of t.
    """
    rho_t, rho_s = sde.rho(t), sde.rho(s)
    decay = scaling.decay(rho_s, rho_t)
    noise_weight = sde.sigma(s) * ((1 - decay) * (1 + decay)).sqrt()
    return sde.sigma(s) / sde.sigma(t) * decay, sde.alpha(s) * (1 - decay * rho_s / rho_t), noise_weight


def sde_multistep_coefficients(
    sde: SDE, times: Tensor, scaling: NoiseScaling, order: int, *, corrector: int = 0, variable: Variable = torch.log
) -> MultistepCoefficients:
    """Return the coefficients of a multistep method for the reverse SDE.

    Arguments:
        sde: Process.
        times: Grid, (n + 1,), decreasing, float64, on the CPU.
        scaling: Noise scaling of the reverse SDE.
        order: Number of values of D in the polynomial; the first steps use as many as are known.
        corrector: Number of values of D in the corrector, including D at s; 0 means no corrector.
        variable: Variable in which D is a polynomial.
    Returns:
        Coefficients of n steps.
    Source:
        Xue et al. 2023, eq. 14-18.
    """
    x_weights, _, noise_weights = exponential_step(sde, times[:-1], times[1:], scaling)
    alpha, phi = sde.alpha(times), scaling.phi(sde.rho(times))
    # the integral of D d(1 / phi), and its factor alpha_s phi_s
    form = IntegralForm(alpha * phi, 1 / phi, grid_rho(sde, times), lambda c: scaling.inverse(1 / c))
    scale = form.scale[1:, None]
    weights = scale * polynomial_weights(form, variable, order)
    corrected = scale * polynomial_weights(form, variable, corrector, implicit=True) if corrector else None
    return MultistepCoefficients(x_weights, weights, corrected, noise_weights)
