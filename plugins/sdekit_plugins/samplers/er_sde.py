"""Extended reverse-time SDE solvers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Multistep, MultistepCoefficients, sde_multistep_coefficients
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class ERSDE(Multistep):
    """ER-SDE: a stochastic multistep method with noise that fades at low noise levels.

        x_s / alpha_s = (phi_s / phi_t) x_t / alpha_t + phi_s int D d(1/phi) + rho_s sqrt(1 - k^2) z,
        phi = rho (exp(rho^0.3) + 10),    k = (rho_t phi_s) / (rho_s phi_t)

    D is a polynomial in rho through its last values. The weak order is the number of these values, at most 2.

    Arguments:
        values: Number of values of D in the polynomial, 1 to 3.
    Source:
        Cui et al. 2023, eq. 12-14 and 16 (ER-SDE-5), Algorithms 1-3.
    """

    values: int = 3

    stochastic = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.values <= 3:
            raise InputError(f"er-sde: values must be 1, 2 or 3, got {self.values}")

    @property
    def order(self) -> int:
        """Weak order: the number of values, at most 2."""
        return min(2, self.values)

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        return sde_multistep_coefficients(sde, times, FadingNoise(), self.values, variable=torch.clone)


class FadingNoise:
    """Noise scaling phi(rho) = rho (exp(rho^0.3) + 10), the choice of Cui et al. 2023 (table 1)."""

    def phi(self, rho: Tensor) -> Tensor:
        """Return phi, shape of rho; inf at inf."""
        return rho * ((rho**0.3).exp() + 10)

    def inverse(self, phi: Tensor) -> Tensor:
        """Return the rho at which phi(rho) has the given values, by bisection in log rho for 1e-12 <= rho <= 1e12."""
        low, high = torch.full_like(phi, -28.0), torch.full_like(phi, 28.0)
        for _ in range(60):
            middle = (low + high) / 2
            above = self.phi(middle.exp()) > phi
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return ((low + high) / 2).exp()

    def decay(self, rho_s: Tensor, rho_t: Tensor) -> Tensor:
        """Return psi(rho_s) / psi(rho_t), psi = exp(rho^0.3) + 10."""
        ten = torch.full_like(rho_s, 10.0).log()
        return (torch.logaddexp(rho_s**0.3, ten) - torch.logaddexp(rho_t**0.3, ten)).exp()
