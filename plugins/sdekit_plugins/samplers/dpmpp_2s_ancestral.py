"""DPM-Solver++(2S) to a noise level below the next one, then new noise up to the next one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, broadcast
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class DPMpp2SAncestral(Sampler):
    """DPM-Solver++(2S) ancestral: a second-order step below the next noise level, then new noise.

        rho_up = eta rho_s sqrt(1 - (rho_s / rho_t)^2),    rho_down^2 + rho_up^2 = rho_s^2
        x_m = alpha_m ((rho_m / rho_t) x_t / alpha_t + (1 - rho_m / rho_t) D(x_t, t)),    rho_m^2 = rho_t rho_down
        x_s = alpha_s ((rho_down / rho_t) x_t / alpha_t + (1 - rho_down / rho_t) D(x_m, m)) + alpha_s rho_up z

    The noise of a step is its increment of the Brownian path, so that `noise="brownian"` gives the same path with any
    number of steps. The noise of a step is added in one piece, therefore the weak order is 1.

    Arguments:
        eta: Standard deviation of the new noise relative to `euler-ancestral`, between 0 (`dpmpp-2s`) and 1.
        s_noise: Additional factor of the noise, > 0; values other than 1 do not keep the marginals.
    Source:
        Crowson 2022 (k-diffusion), sample_dpmpp_2s_ancestral.
    """

    eta: float = 1.0
    s_noise: float = 1.0

    order = 1
    calls_per_step = 2
    default_steps = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.eta <= 1 and self.s_noise > 0):
            raise InputError(
                f"dpmpp-2s-ancestral: needs 0 <= eta <= 1 and s_noise > 0, got {self.eta} and {self.s_noise}"
            )

    @property
    def stochastic(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        rho_t, rho_s = sde.rho(t), sde.rho(s)
        up = self.eta * ((1 - rho_s / rho_t) * (1 + rho_s / rho_t)).sqrt()  # rho_up / rho_s
        rho_down = rho_s * ((1 - up) * (1 + up)).sqrt()
        middle = torch.where(sde.alpha(t) > 1e-12, (rho_t * rho_down).sqrt(), torch.maximum(2 * rho_down, rho_s))
        m = sde.time(middle).clamp(s, t)
        x_m = _euler(sde, x, denoise(x, t), t, m, sde.rho(m))
        x_s = _euler(sde, x, denoise(x_m, m), t, s, rho_down)
        return x_s + broadcast(self.s_noise * up * sde.sigma(s), x) * noise(t, s) if self.eta else x_s


def _euler(sde: SDE, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, rho: Tensor) -> Tensor:
    """Return Euler's step in rho from t to the noise level rho, with the signal scale of s."""
    alpha = sde.alpha(s)
    return broadcast(alpha * rho / sde.sigma(t), x) * x + broadcast(alpha * (1 - rho / sde.rho(t)), x) * x0
