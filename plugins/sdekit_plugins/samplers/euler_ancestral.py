"""Euler's method to a noise level below the next one, then new noise up to the next one."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import SDE, renoise_weights


@dataclass(frozen=True, kw_only=True)
class EulerAncestral(OneStep):
    """Euler ancestral: Euler's method on the probability flow to rho_down, then noise up to rho_s.

        rho_up = eta rho_s sqrt(1 - (rho_s / rho_t)^2),    rho_down^2 + rho_up^2 = rho_s^2

    Together this is x_s = alpha_s x_0 + sigma_s (sqrt(1 - f^2) eps + f z) with f = rho_up / rho_s: the step of `ddim`
    with the same eta, and of `ddpm` with eta = 1, under the name and with the grid of k-diffusion. Weak and strong
    order 1.

    Arguments:
        eta: Standard deviation of the new noise relative to `ddpm`, between 0 (DDIM) and 1.
        s_noise: Additional factor of the noise, > 0; values other than 1 do not keep the marginals.
    Source:
        Crowson 2022 (k-diffusion).
    """

    eta: float = 1.0
    s_noise: float = 1.0

    order = 1
    default_steps = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.eta <= 1 and self.s_noise > 0):
            raise InputError(f"euler-ancestral: needs 0 <= eta <= 1 and s_noise > 0, got {self.eta} and {self.s_noise}")

    @property
    def stochastic(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        a, b, c = renoise_weights(sde, t, s, self.eta)
        return a, b, self.s_noise * c
