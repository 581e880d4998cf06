"""From x_t and its denoised x_0 to x_s: the step that DDIM, DDPM and all between them share."""

from __future__ import annotations

from torch import Tensor

from .sde import SDE, like


def renoise(sde: SDE, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, z: Tensor | None, eta: float = 1.0) -> Tensor:
    """x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2) eps + fresh z), fresh = eta sqrt(1 - (rho_s / rho_t)^2).

    eps is the noise in x, z (B, *) is new. eta scales the standard deviation of what is new: 0 is DDIM, 1 the exact
    ancestral step (DDPM's posterior). x, x0 (B, *), t > s. z may be None where eta is 0.
    Source: Song, Meng & Ermon 2021, eq. 12 and 16, for any alpha and sigma.
    """
    eps = sde.eps(x, x0, t)
    if z is not None and eta:
        fresh = eta * (1 - (sde.rho(s) / sde.rho(t)) ** 2).sqrt()
        eps = like((1 - fresh**2).sqrt(), x) * eps + like(fresh, x) * z
    return sde.perturb(x0, s, eps)
