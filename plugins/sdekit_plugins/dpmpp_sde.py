"""DPM-Solver++ of the reverse SDE, in single steps of second order."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.adams import Power, exponential_step
from sdekit.errors import InputError
from sdekit.line import Line
from sdekit.noise import Noise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True, kw_only=True)
class DPMppSDE(Sampler):
    """The exact step for a fixed x_0, twice: half-way in log rho, then the whole step with x_0 as found half-way.

    x_s = (sigma_s / sigma_t) k x_t + alpha_s (1 - q k) x_0 + sigma_s sqrt(1 - k^2) z, q = rho_s / rho_t, k = q^(eta^2).
    The noise of the whole step is made of that of its halves, so that both see one path of the reverse SDE. Two calls a
    step. Weak order 2 (on Gaussians), strong order 1. eta: standard deviation of the noise relative to the reverse
    SDE's, >= 0; 0 is `dpmpp-2s`. Source: Lu et al. 2022b, Algorithm 1; Crowson 2022 (k-diffusion).
    """

    eta: float = 1.0

    order = 2
    stochastic = True
    calls = 2
    default_steps = 25

    def __post_init__(self) -> None:
        if not self.eta >= 0:
            raise InputError(f"dpmpp-sde: eta must be at least 0 (deterministic), 1 is the SDE, got {self.eta}")

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        m, forget = Line(sde).middle(t, s), Power(self.eta)
        z = half = None
        if self.eta:
            half, rest = noise(t, m), noise(m, s)
            first, second = forget.keep(sde.rho(m), sde.rho(t)), forget.keep(sde.rho(s), sde.rho(m))
            z = second * (1 - first**2).sqrt() * half + (1 - second**2).sqrt() * rest
            z = z / (1 - (first * second) ** 2).sqrt()
        x_m = exponential_step(sde, x, denoise(x, t), t, m, half, forget)
        return exponential_step(sde, x, denoise(x_m, m), t, s, z, forget)
