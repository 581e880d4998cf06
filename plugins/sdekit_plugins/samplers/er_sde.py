"""Extended reverse-time SDE solvers."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import sde_multistep_coefficients
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class ERSDE(Sampler):
    """The reverse SDE whose noise fades at low noise levels, phi(rho) = rho (exp(rho^0.3) + 10), with x_0 in rho.

    x_s / alpha_s = (phi_s / phi_t) x_t / alpha_t + int D dphi-part + rho_s sqrt(1 - (rho_t phi_s / (rho_s phi_t))^2) z
    (`sde_multistep.py`); D goes through its last values as a polynomial in rho. Weak order: that number, at most 2.
    values: 1 to 3. Source: Cui et al. 2023, eq. 12-14 and 16 (ER-SDE-5), Algorithms 1-3.
    """

    values: int = 3

    stochastic = True

    def __post_init__(self) -> None:
        if not 1 <= self.values <= 3:
            raise InputError(f"er-sde: values must be 1, 2 or 3, got {self.values}")

    @property
    def order(self) -> int:
        """Weakly: the number of values, at most 2."""
        return min(2, self.values)

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        coefficients = sde_multistep_coefficients(sde, times, Fading(), self.values, warp=torch.clone)
        yield from coefficients.run(denoise, x, times, noise)


class Fading:
    """phi(rho) = rho (exp(rho^0.3) + 10), the choice of Cui et al. 2023 (table 1)."""

    def phi(self, rho: Tensor) -> Tensor:
        """phi, shape of rho; inf at inf."""
        return rho * ((rho**0.3).exp() + 10)

    def inverse(self, phi: Tensor) -> Tensor:
        """By bisection in log rho, to rounding: 1e-12 <= rho <= 1e12."""
        low, high = torch.full_like(phi, -28.0), torch.full_like(phi, 28.0)
        for _ in range(60):
            middle = (low + high) / 2
            above = self.phi(middle.exp()) > phi
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return ((low + high) / 2).exp()

    def keep(self, s: Tensor, t: Tensor) -> Tensor:
        """psi(s) / psi(t), psi = exp(rho^0.3) + 10."""
        ten = torch.full_like(s, 10.0).log()
        return (torch.logaddexp(s**0.3, ten) - torch.logaddexp(t**0.3, ten)).exp()
