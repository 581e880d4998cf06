"""Euler's method to a lower noise level, and fresh noise up again."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.errors import InputError
from sdekit.noise import Noise
from sdekit.renoise import renoise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True, kw_only=True)
class EulerAncestral(Sampler):
    """Euler's method on the probability flow to rho_down, then noise of rho_up: rho_down^2 + rho_up^2 = rho_s^2.

    rho_up = eta rho_s sqrt(1 - (rho_s / rho_t)^2). Put together this is x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2)
    eps + fresh z): the step of `ddim` with the same eta, and of `ddpm` at eta = 1, under the name and with the grid
    that k-diffusion gave it. Weak order 1, strong order 1. eta: standard deviation of the fresh noise, between 0 (DDIM)
    and 1. s_noise: a further factor of it, > 0; other values than 1 leave the marginals. Source: Crowson 2022,
    k-diffusion.
    """

    eta: float = 1.0
    s_noise: float = 1.0

    order = 1
    stochastic = True
    default_steps = 100

    def __post_init__(self) -> None:
        if not (0 <= self.eta <= 1 and self.s_noise > 0):
            raise InputError(f"euler-ancestral: needs 0 <= eta <= 1 and s_noise > 0, got {self.eta} and {self.s_noise}")

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        z = noise(t, s) * self.s_noise if self.eta else None
        return renoise(sde, x, denoise(x, t), t, s, z, self.eta)
