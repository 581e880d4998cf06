"""DPM-Solver++(2M) of the reverse SDE."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import (
    Multistep,
    MultistepCoefficients,
    PowerNoiseScaling,
    check_eta,
    exponential_step,
    grid_rho,
    nodes,
)
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class DPMpp2MSDE(Multistep):
    """DPM-Solver++(2M) of the reverse SDE: a stochastic second-order multistep method in log-SNR.

        x_s = (sigma_s / sigma_t) k x_t + alpha_s (1 - k q) ((1 + c) D_t - c D_u) + sigma_s sqrt(1 - k^2) z

    with q = rho_s / rho_t, k = q^(eta^2) and c = h / (2 h_u). D_u is the denoised x_0 of the step before; h and h_u are
    the lengths of this step and of the step before in log rho. Weak order 2 (on Gaussians), strong order 1.

    Arguments:
        eta: Standard deviation of the noise relative to the noise of the reverse SDE, in [0, 4]; 0 is `dpmpp-2m`.
    Source:
        Lu et al. 2022b, appendix B: the SDE's second-order update in its midpoint form.
    """

    eta: float = 1.0

    order = 2
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_eta("dpmpp-2m-sde", self.eta)

    @property
    def stochastic(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        x_weights, x0_weights, noise = exponential_step(sde, times[:-1], times[1:], PowerNoiseScaling(self.eta))
        h = nodes(grid_rho(sde, times), torch.log).diff()
        c = torch.cat([torch.zeros_like(h[:1]), h[1:] / (2 * h[:-1])])
        weights = x0_weights[:, None] * torch.stack([1 + c, -c], 1)
        return MultistepCoefficients(x_weights, weights, noise_weights=noise)
