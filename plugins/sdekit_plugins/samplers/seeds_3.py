"""SEEDS-3: an exponential integrator of the reverse SDE with three stages."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import PowerNoiseScaling, check_eta, exponential_step
from sdekit.processes import LARGEST_RHO, SDE, Denoiser, broadcast
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class SEEDS3(Sampler):
    """SEEDS-3: a stochastic single-step exponential integrator with three stages, three calls per step.

    With h = log(rho_t / rho_s), L = (1 + eta^2) h, the times u and v at 1/3 and 2/3 of the step in log rho, and
    phi_1(z) = (1 - e^-z) / z,

        x_u = A_u x_t + alpha_u (1 - e^(-L/3)) D_t + noise
        x_v = A_v x_t + alpha_v ((1 - e^(-2L/3)) D_t + 2 (1 - phi_1(2L/3)) (D_u - D_t)) + noise
        x_s = A_s x_t + alpha_s ((1 - e^-L) D_t + 3/2 (1 - phi_1(L)) (D_v - D_t)) + noise

    A is (sigma / sigma_t) e^(-eta^2 h) with the h of each stage. The noise of the stages belongs to one path of the
    reverse SDE. With two stages, the method is SEEDS-2, which is `dpmpp-sde`. Order 3 for eta = 0, and weak order 1
    otherwise, between 1 and 2 at practical step lengths.

    Arguments:
        eta: Standard deviation of the noise relative to the noise of the reverse SDE, in [0, 4]; 0 is the
            probability flow.
    Source:
        Gonzalez et al. 2023 (SEEDS), Algorithm 4 in data prediction.
    """

    eta: float = 1.0

    calls_per_step = 3
    default_steps = 20
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_eta("seeds-3", self.eta)

    @property
    def order(self) -> int:
        """3 for the probability flow, and weak order 1 with noise."""
        return 1 if self.eta else 3

    @property
    def stochastic(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        scaling = PowerNoiseScaling(self.eta)
        rho_t, rho_s = sde.rho(t).clamp(max=LARGEST_RHO), sde.rho(s)  # it may be infinite at t_max
        length = (1 + self.eta**2) * (rho_t / rho_s).log()
        u, v = (sde.time(rho_t ** (1 - part) * rho_s**part).clamp(s, t) for part in (1 / 3, 2 / 3))
        starts, ends = torch.stack([t, u, v]), torch.stack([u, v, s])
        x_weights, x0_weights, _ = exponential_step(sde, t, ends, scaling)
        decays, _, noise_weights = exponential_step(sde, starts, ends, scaling)
        slopes = sde.alpha(ends) * torch.stack([0 * length, 2 * _tail(2 / 3 * length), 1.5 * _tail(length)])
        denoised, path, y = [denoise(x, t)], torch.zeros_like(x), x
        for i in range(3):
            y = broadcast(x_weights[i], x) * x + broadcast(x0_weights[i], x) * denoised[0]
            y = y + broadcast(slopes[i], x) * (denoised[-1] - denoised[0])
            if self.eta:
                path = broadcast(decays[i], x) * path + broadcast(noise_weights[i], x) * noise(starts[i], ends[i])
                y = y + path
            if i < 2:
                denoised.append(denoise(y, ends[i]))
        return y


def _tail(z: Tensor) -> Tensor:
    """Return 1 - (1 - e^-z) / z, precise for small z."""
    return torch.where(z < 1e-4, z / 2 - z**2 / 6, 1 + torch.expm1(-z) / z.clamp(min=1e-300))
