"""Exact transitions of a process between two times: forward by adding noise, backward given x_0."""

from __future__ import annotations

from torch import Tensor

from .sde import SDE, broadcast


def renoise_weights(sde: SDE, t: Tensor, s: Tensor, eta: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Of x_t, x_0 and new noise z in `renoise`, each with the shape of t and s, float64."""
    fresh = eta * (1 - (sde.rho(s) / sde.rho(t)) ** 2).sqrt()
    old = sde.sigma(s) / sde.sigma(t) * (1 - fresh**2).sqrt()
    return old, sde.alpha(s) - old * sde.alpha(t), sde.sigma(s) * fresh


def renoise(sde: SDE, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, z: Tensor | None, eta: float = 1.0) -> Tensor:
    """x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2) eps + fresh z), fresh = eta sqrt(1 - (rho_s / rho_t)^2).

    eps is the noise in x, z (B, *) is new. eta scales the standard deviation of what is new: 0 is DDIM, 1 the exact
    ancestral step (DDPM's posterior). x, x0 (B, *), t > s. z may be None where eta is 0.
    Source: Song, Meng & Ermon 2021, eq. 12 and 16, for any alpha and sigma.
    """
    of_x, of_x0, of_z = renoise_weights(sde, t, s, eta if z is not None else 0.0)
    x_s = broadcast(of_x, x) * x + broadcast(of_x0, x) * x0
    return x_s if z is None or not eta else x_s + broadcast(of_z, x) * z


def diffuse(sde: SDE, x: Tensor, s: Tensor, t: Tensor, z: Tensor) -> Tensor:
    """x_t = (alpha_t / alpha_s) x_s + sigma_t sqrt(1 - (rho_s / rho_t)^2) z for s <= t, both 0-dim; x, z (B, *).

    If x has the distribution p_s then the result has p_t, exactly. Source: Kingma et al. 2021, appendix A.1.
    """
    fresh = (1 - (sde.rho(s) / sde.rho(t)) ** 2).clamp(min=0).sqrt()
    return sde.alpha(t) / sde.alpha(s) * x + sde.sigma(t) * fresh * z
