"""The forward process between two times: what adds noise that a sampler then takes away again."""

from __future__ import annotations

from torch import Tensor

from .sde import SDE


def diffuse(sde: SDE, x: Tensor, s: Tensor, t: Tensor, z: Tensor) -> Tensor:
    """x_t = (alpha_t / alpha_s) x_s + sigma_t sqrt(1 - (rho_s / rho_t)^2) z for s <= t, both 0-dim; x, z (B, *).

    If x has the distribution p_s then the result has p_t, exactly. Source: Kingma et al. 2021, appendix A.1.
    """
    fresh = (1 - (sde.rho(s) / sde.rho(t)) ** 2).clamp(min=0).sqrt()
    return sde.alpha(t) / sde.alpha(s) * x + sde.sigma(t) * fresh * z
