"""DPM-Solver++ of the reverse SDE, in single steps of second order."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import PowerNoiseScaling, check_eta, exponential_step
from sdekit.processes import SDE, Denoiser, FlowCoordinates
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class DPMppSDE(Sampler):
    """The exact step for a fixed x_0, twice: half-way in log rho, then the whole step with x_0 as found half-way.

    x_s = (sigma_s / sigma_t) k x_t + alpha_s (1 - q k) x_0 + sigma_s sqrt(1 - k^2) z, q = rho_s / rho_t, k = q^(eta^2).
    The noise of the whole step is made of that of its halves, so that both see one path of the reverse SDE. Two calls a
    step. Weak order 2 (on Gaussians), strong order 1. eta: standard deviation of the noise relative to the reverse
    SDE's, in [0, 4]; 0 is `dpmpp-2s`. Source: Lu et al. 2022b, Algorithm 1; Crowson 2022 (k-diffusion).
    """

    eta: float = 1.0

    order = 2
    calls_per_step = 2
    default_steps = 25

    def __post_init__(self) -> None:
        check_eta("dpmpp-sde", self.eta)

    @property
    def stochastic(self) -> bool:
        """Where eta is above 0."""
        return self.eta > 0

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        (x_s,) = self.trajectory(sde, denoise, x, torch.stack([t, s]), noise)
        return x_s

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        t, s, forget = times[:-1], times[1:], PowerNoiseScaling(self.eta)
        m = FlowCoordinates(sde).middle(t, s)
        old, new, _ = exponential_step(sde, t, s, forget)
        to_m, from_m = exponential_step(sde, t, m, forget), exponential_step(sde, m, s, forget)
        # what is left at s of the noise of the first half, and that of the second
        rows = torch.stack([*to_m, old, new, from_m[0] * to_m[2], from_m[2]], 1).tolist()
        for t_i, m_i, s_i, (a, b, c, a_s, b_s, first, second) in zip(
            t.unbind(), m.unbind(), s.unbind(), rows, strict=True
        ):
            x_m = (x * a).add_(denoise(x, t_i), alpha=b)
            x = x * a_s
            if self.eta:
                half = noise(t_i, m_i)
                x_m.add_(half, alpha=c)
                x.add_(half, alpha=first).add_(noise(m_i, s_i), alpha=second)
            x.add_(denoise(x_m, m_i), alpha=b_s)
            yield x
