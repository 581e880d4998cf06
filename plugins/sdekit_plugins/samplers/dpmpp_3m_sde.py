"""DPM-Solver++(3M) of the reverse SDE."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.integrators import (
    Multistep,
    MultistepCoefficients,
    PowerNoiseScaling,
    check_eta,
    sde_multistep_coefficients,
)
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class DPMpp3MSDE(Multistep):
    """DPM-Solver++(3M) of the reverse SDE: a stochastic multistep method with a parabola in log-SNR.

        x_s = (sigma_s / sigma_t) k x_t + alpha_s phi_s int D d(1/phi) + sigma_s sqrt(1 - k^2) z

    with phi = rho^(1 + eta^2), k = (rho_s / rho_t)^(eta^2), and D a parabola in log rho through its last three values.
    The noise within a step limits the weak order to 2 (on Gaussians); with eta = 0 it is 3. The published formula gives
    the curvature half of its weight, so that its eta = 0 has order 2; here the parabola is integrated exactly.

    Arguments:
        eta: Standard deviation of the noise relative to the noise of the reverse SDE, in [0, 4].
    Source:
        Crowson 2022 (k-diffusion), after Lu et al. 2022b.
    """

    eta: float = 1.0

    order = 2
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_eta("dpmpp-3m-sde", self.eta)

    @property
    def stochastic(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        return sde_multistep_coefficients(sde, times, PowerNoiseScaling(self.eta), order=3, variable=torch.log)
