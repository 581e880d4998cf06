"""Exact transitions of a process between two times: forward by adding noise, backward given x_0."""

from __future__ import annotations

from torch import Tensor

from .sde import SDE, broadcast


def renoise_weights(sde: SDE, t: Tensor, s: Tensor, eta: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the weights of x_t, x_0 and the new noise z in `renoise`.

    Arguments:
        sde: The process.
        t: Times before the steps, of any shape.
        s: Times after the steps, s < t, of the shape of t.
        eta: Scale of the new noise, from 0 (DDIM) to 1 (DDPM).
    Returns:
        The three weights, float64, each of the shape of t.
    """
    fresh = eta * (1 - (sde.rho(s) / sde.rho(t)) ** 2).sqrt()
    old = sde.sigma(s) / sde.sigma(t) * (1 - fresh**2).sqrt()
    return old, sde.alpha(s) - old * sde.alpha(t), sde.sigma(s) * fresh


def renoise(sde: SDE, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, z: Tensor | None, eta: float = 1.0) -> Tensor:
    """Step from t down to s, given x_0: x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2) eps + fresh z).

    fresh = eta sqrt(1 - (rho_s / rho_t)^2), and eps is the noise in x_t. eta scales the standard deviation of the new
    noise: 0 is DDIM, 1 the exact ancestral step (DDPM's posterior).

    Arguments:
        sde: The process.
        x: Samples at t, (B, *).
        x0: Denoised samples, (B, *).
        t: Time before the step, () or (B,).
        s: Time after the step, s < t, of the shape of t.
        z: Standard normal noise, (B, *); may be None if eta is 0.
        eta: Scale of the new noise, from 0 to 1.
    Returns:
        Samples at s, (B, *).
    Source:
        Song, Meng & Ermon 2021, eq. 12 and 16, for any alpha and sigma.
    """
    of_x, of_x0, of_z = renoise_weights(sde, t, s, eta if z is not None else 0.0)
    x_s = broadcast(of_x, x) * x + broadcast(of_x0, x) * x0
    return x_s if z is None or not eta else x_s + broadcast(of_z, x) * z


def diffuse(sde: SDE, x: Tensor, s: Tensor, t: Tensor, z: Tensor) -> Tensor:
    """Step from s up to t by adding noise: x_t = (alpha_t / alpha_s) x_s + sigma_t sqrt(1 - (rho_s / rho_t)^2) z.

    If x has the distribution p_s, then the result has the distribution p_t exactly.

    Arguments:
        sde: The process.
        x: Samples at s, (B, *).
        s: Time before the step, ().
        t: Time after the step, s <= t, ().
        z: Standard normal noise, (B, *).
    Returns:
        Samples at t, (B, *).
    Source:
        Kingma et al. 2021, appendix A.1.
    """
    fresh = (1 - (sde.rho(s) / sde.rho(t)) ** 2).clamp(min=0).sqrt()
    return sde.alpha(t) / sde.alpha(s) * x + sde.sigma(t) * fresh * z
