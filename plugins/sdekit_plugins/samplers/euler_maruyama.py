"""Euler-Maruyama on the reverse SDE."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import LARGEST_RHO, SDE, renoise_weights


@dataclass(frozen=True, kw_only=True)
class EulerMaruyama(OneStep):
    """Euler-Maruyama: the reverse SDE in plain stochastic Euler steps.

        x_s = x + (f x - g^2 score) (s - t) + g sqrt(t - s) z,    f, g and the score at t

    Weak order 1, strong order 1/2. f and g are infinite where alpha is 0. A step from such a time is the ancestral
    step, which needs neither.

    Source:
        Song et al. 2021, eq. 6.
    """

    order = 1
    stochastic = True
    default_steps = 500

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        h, f, g = t - s, sde.f(t), sde.g(t)
        b = h * (g / sde.sigma(t)) ** 2  # score = (alpha x_0 - x) / sigma^2
        euler = 1 - h * f - b, b * sde.alpha(t), g * h.sqrt()
        vanished = sde.rho(t) > LARGEST_RHO
        a, b, c = (torch.where(vanished, *pair) for pair in zip(renoise_weights(sde, t, s), euler, strict=True))
        return a, b, c
