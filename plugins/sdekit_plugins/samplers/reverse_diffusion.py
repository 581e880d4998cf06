"""The reverse-diffusion predictor: the forward step's own coefficients, backwards."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import LARGEST_RHO, SDE, renoise_weights


@dataclass(frozen=True, kw_only=True)
class ReverseDiffusion(OneStep):
    """Reverse diffusion: the exact forward step from s to t, reversed as in SMLD and DDPM.

        x_s = (2 - a) x_t + v score(x_t) + sqrt(v) z,    with the forward step x_t = a x_s + sqrt(v) z

    a = alpha_t / alpha_s and v = sigma_t^2 - a^2 sigma_s^2 are exact for steps of any length. With VE these are the
    steps of SMLD in Song et al., with VP the steps of DDPM. Weak and strong order 1. Where alpha is 0, 2 - a would
    double x; a step from such a time is therefore the ancestral step.

    Source:
        Song et al. 2021, eq. 46 and Algorithms 2-3.
    """

    order = 1
    stochastic = True
    default_steps = 500

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        a = sde.alpha(t) / sde.alpha(s)
        v = sde.sigma(t) ** 2 - (a * sde.sigma(s)) ** 2
        b = v / sde.sigma(t) ** 2  # score = (alpha x_0 - x) / sigma^2
        reverse = 2 - a - b, b * sde.alpha(t), v.sqrt()
        vanished = sde.rho(t) > LARGEST_RHO
        a, b, c = (torch.where(vanished, *pair) for pair in zip(renoise_weights(sde, t, s), reverse, strict=True))
        return a, b, c
