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
    """DDRM: denoising diffusion restoration, a separate step in each singular direction of the operator.

    With A = U diag(a) V^T, coefficients c = V^T x / alpha, the measurement y' = U^T y / a, the standard deviation of
    its noise n = noise_std / a, and the coefficients d of the denoised x_0:
        a = 0:       c_s = d + rho_s (sqrt(1 - eta^2) (c_t - d) / rho_t + eta z)
        rho_s < n:   c_s = d + rho_s (sqrt(1 - eta^2) (y' - d) / n + eta z)
        rho_s >= n:  c_s = (1 - eta_b) d + eta_b y' + sqrt(rho_s^2 - eta_b^2 n^2) z
    No derivative of the network is needed.

    Arguments:
        problem: The inverse problem, with a linear operator that has an SVD.
        eta: Share of new noise if the measurement is less precise than x_s, in [0, 1].
        eta_b: Weight of the measurement if it is more precise than x_s, in [0, 1].
    Raises:
        InputError: If an option is out of range, or the operator is not linear.
    Source:
        Kawar et al. 2022.
    """

    problem: Problem
    _: KW_ONLY
    eta: float = 0.85
    eta_b: float = 1.0

    stochastic = True
    default_steps = 20

    def __post_init__(self) -> None:
        super().__post_init__()
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
        measured = values > 1e-6 * values.max()
        inverse = torch.where(measured, 1 / values, 0)
        y, n = svd.ut(self.problem.measurement.to(x)[None]) * inverse, self.problem.noise_std * inverse
        # eta-DDIM, for directions with a = 0 and those that V does not span
        rest = x0 + rho * ((1 - self.eta**2) ** 0.5 * sde.eps(x, x0, t) + self.eta * z)
        d, fresh = svd.vt(x0), svd.vt(z)
        imprecise = d + rho * ((1 - self.eta**2) ** 0.5 * (y - d) / torch.where(n > 0, n, 1) + self.eta * fresh)
        precise = d + self.eta_b * (y - d) + (rho**2 - (self.eta_b * n) ** 2).clamp(min=0).sqrt() * fresh
        c = torch.where(measured, torch.where(rho < n, imprecise, precise), svd.vt(rest))
        x_s: Tensor = sde.alpha(s) * (rest + svd.v(c - svd.vt(rest)))
        return x_s
