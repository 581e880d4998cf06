"""The reverse-diffusion predictor: the forward step's own coefficients, backwards."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.line import LARGEST_RHO
from sdekit.noise import Noise
from sdekit.renoise import renoise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True, kw_only=True)
class ReverseDiffusion(Sampler):
    """x_s = (2 - a) x_t + v score(x_t) + sqrt(v) z, where the forward step is x_t = a x_s + sqrt(v) z.

    a = alpha_t / alpha_s and v = sigma_t^2 - a^2 sigma_s^2 are exact for steps of any length. With VE these are Song et
    al.'s steps of SMLD, with VP those of DDPM. Weak order 1, strong order 1. Where alpha has vanished 2 - a would
    double x: from there the step is the ancestral one. Source: Song et al. 2021, eq. 46 and Algorithms 2-3.
    """

    order = 1
    stochastic = True
    default_steps = 500

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x0, z = denoise(x, t), noise(t, s)
        if sde.rho(t) > LARGEST_RHO:
            return renoise(sde, x, x0, t, s, z)
        a = sde.alpha(t) / sde.alpha(s)
        v = sde.sigma(t) ** 2 - (a * sde.sigma(s)) ** 2
        return (2 - a) * x + v * sde.score(x, x0, t) + v.sqrt() * z
