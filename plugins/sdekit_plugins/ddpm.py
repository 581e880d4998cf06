"""DDPM's ancestral sampling, on any process."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.noise import Noise
from sdekit.renoise import renoise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True, kw_only=True)
class DDPM(Sampler):
    """Ancestral sampling: each step draws from the posterior q(x_s | x_t, x_0) at the denoised x_0.

    x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2) eps + fresh z), fresh = sqrt(1 - (rho_s / rho_t)^2). On the knots
    of `TabulatedVP` this is Ho et al. 2020, eq. 6-7 (variance beta-tilde). Weak order 1.
    """

    order = 1
    stochastic = True
    default_steps = 200

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return renoise(sde, x, denoise(x, t), t, s, noise(t, s))
