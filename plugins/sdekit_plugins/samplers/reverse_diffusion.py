"""The reverse-diffusion predictor: the forward step's own coefficients, backwards."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import LARGEST_RHO, SDE, renoise_weights


@dataclass(frozen=True, kw_only=True)
class ReverseDiffusion(OneStep):
    """x_s = (2 - a) x_t + v score(x_t) + sqrt(v) z, where the forward step is x_t = a x_s + sqrt(v) z.

    a = alpha_t / alpha_s and v = sigma_t^2 - a^2 sigma_s^2 are exact for steps of any length. With VE these are Song et
    al.'s steps of SMLD, with VP those of DDPM. Weak order 1, strong order 1. Where alpha has vanished 2 - a would
    double x: from there the step is the ancestral one. Source: Song et al. 2021, eq. 46 and Algorithms 2-3.
    """

    order = 1
    stochastic = True
    default_steps = 500

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        a = sde.alpha(t) / sde.alpha(s)
        v = sde.sigma(t) ** 2 - (a * sde.sigma(s)) ** 2
        pull = v / sde.sigma(t) ** 2
        backwards = 2 - a - pull, pull * sde.alpha(t), v.sqrt()
        vanished = sde.rho(t) > LARGEST_RHO
        old, new, fresh = (
            torch.where(vanished, a, b) for a, b in zip(renoise_weights(sde, t, s), backwards, strict=True)
        )
        return old, new, fresh
