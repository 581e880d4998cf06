"""DDRM: denoising diffusion restoration in the basis of the operator's singular vectors."""

from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.inverse import Problem
from sdekit.inverse.operators import SVD
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True)
class DDRM(Sampler):
    """Each singular direction by itself: where the measurement says more than x_t does, x_s is drawn about it.

    With A = U diag(a) V^T, c = V^T x / alpha, y' = U^T y / a and its noise n = noise_std / a:
    a = 0:        c_s = d + rho_s (sqrt(1 - eta^2) (c_t - d) / rho_t + eta z)
    rho_s < n:    c_s = d + rho_s (sqrt(1 - eta^2) (y' - d) / n + eta z)
    rho_s >= n:   c_s = (1 - eta_b) d + eta_b y' + sqrt(rho_s^2 - eta_b^2 n^2) z
    with d that of the denoised x_0. No derivative of the network. eta, eta_b: between 0 and 1.
    Source: Kawar et al. 2022.
    """

    problem: Problem
    _: KW_ONLY
    eta: float = 0.85
    eta_b: float = 1.0

    stochastic = True
    default_steps = 20

    def __post_init__(self) -> None:
        if not (0 <= self.eta <= 1 and 0 <= self.eta_b <= 1):
            raise InputError(f"ddrm: eta and eta_b must be between 0 and 1, got {self.eta} and {self.eta_b}")
        self.problem.linear("ddrm")

    @cached_property
    def _svd(self) -> SVD:
        return self.problem.linear("ddrm").svd()

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x0, z = denoise(x, t), noise(t, s)
        svd, rho = self._svd, sde.rho(s).to(x)
        values = svd.s.to(x)
        seen = values > 1e-6 * values.max()
        inverse = torch.where(seen, 1 / values, 0)
        told, spread = svd.ut(self.problem.measurement.to(x)[None]) * inverse, self.problem.noise_std * inverse
        # what V does not span, and a = 0, go on as eta-DDIM
        rest = x0 + rho * ((1 - self.eta**2) ** 0.5 * sde.eps(x, x0, t) + self.eta * z)
        d, fresh = svd.vt(x0), svd.vt(z)
        weak = d + rho * ((1 - self.eta**2) ** 0.5 * (told - d) / torch.where(spread > 0, spread, 1) + self.eta * fresh)
        strong = d + self.eta_b * (told - d) + (rho**2 - (self.eta_b * spread) ** 2).clamp(min=0).sqrt() * fresh
        c = torch.where(seen, torch.where(rho < spread, weak, strong), svd.vt(rest))
        x_s: Tensor = sde.alpha(s) * (rest + svd.v(c - svd.vt(rest)))
        return x_s
