"""Euler-Maruyama on the reverse SDE."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import LARGEST_RHO, SDE, renoise_weights


@dataclass(frozen=True, kw_only=True)
class EulerMaruyama(OneStep):
    """The reverse SDE, step by step: x_s = x + (f x - g^2 score) (s - t) + g sqrt(t - s) z, all at t.

    Weak order 1, strong order 1/2. Where alpha has vanished f and g are infinite: from there the step is the
    ancestral one, which needs neither.
    Source: Song et al. 2021, eq. 6.
    """

    order = 1
    stochastic = True
    default_steps = 500

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        h, f, g = t - s, sde.f(t), sde.g(t)
        pull = h * (g / sde.sigma(t)) ** 2
        euler = 1 - h * f - pull, pull * sde.alpha(t), g * h.sqrt()
        vanished = sde.rho(t) > LARGEST_RHO
        old, new, fresh = (torch.where(vanished, a, b) for a, b in zip(renoise_weights(sde, t, s), euler, strict=True))
        return old, new, fresh
