"""DPM-Solver++(2M) of the reverse SDE."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sdekit.integrators import PowerNoiseScaling, check_eta, data_prediction, nodes, sde_multistep_coefficients
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class DPMpp2MSDE(Sampler):
    """The reverse SDE, exact but for x_0, which is taken at the middle of the line through its last two values.

    x_s = (sigma_s / sigma_t) k x_t + alpha_s (1 - q k) ((1 + c) D_t - c D_before) + sigma_s sqrt(1 - k^2) z with
    q = rho_s / rho_t, k = q^(eta^2), c = h / (2 h_before); h and h_before are this step and the last in log rho.
    Weak order 2 (on Gaussians), strong order 1. eta: standard deviation of the noise relative to the reverse SDE's,
    in [0, 4]; 0 is `dpmpp-2m`. Source: Lu et al. 2022b, appendix B; the SDE's second-order update in its midpoint form.
    """

    eta: float = 1.0

    order = 2
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        check_eta("dpmpp-2m-sde", self.eta)

    @property
    def stochastic(self) -> bool:
        """Where eta is above 0."""
        return self.eta > 0

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        exact = sde_multistep_coefficients(sde, times, PowerNoiseScaling(self.eta), 1)
        h = nodes(data_prediction(sde, times), torch.log).diff()
        ratios = [0.0, *(h[1:] / (2 * h[:-1])).tolist()]
        weights = [[w * (1 + c), -w * c] for (w,), c in zip(exact.weights, ratios, strict=False)]
        yield from replace(exact, weights=weights).run(denoise, x, times, noise)
