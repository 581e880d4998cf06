"""Euler-Maruyama on the reverse SDE."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.line import LARGEST_RHO
from sdekit.noise import Noise
from sdekit.renoise import renoise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True, kw_only=True)
class EulerMaruyama(Sampler):
    """The reverse SDE, step by step: x_s = x + (f x - g^2 score) (s - t) + g sqrt(t - s) z, all at t.

    Weak order 1, strong order 1/2. Where alpha has vanished f and g are infinite: from there the step is the
    ancestral one, which needs neither.
    Source: Song et al. 2021, eq. 6.
    """

    order = 1
    stochastic = True
    default_steps = 500

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x0, z = denoise(x, t), noise(t, s)
        if sde.rho(t) > LARGEST_RHO:
            return renoise(sde, x, x0, t, s, z)
        g = sde.g(t)
        drift = sde.f(t) * x - g**2 * sde.score(x, x0, t)
        return x + drift * (s - t) + g * (t - s).sqrt() * z
