"""DDPM's ancestral sampling, on any process."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import SDE, renoise_weights


@dataclass(frozen=True, kw_only=True)
class DDPM(OneStep):
    """DDPM: stochastic ancestral sampling from the posterior q(x_s | x_t, x_0) at the denoised x_0.

        x_s = alpha_s x_0 + sigma_s (sqrt(1 - f^2) eps + f z),    f = sqrt(1 - (rho_s / rho_t)^2)

    On the knots of `TabulatedVP` this is Ho et al. 2020, eq. 6-7, with variance beta-tilde. Weak and strong order 1.

    Arguments:
        variance: Variance of the new noise. "beta-tilde" is the variance of the posterior, (sigma_s f)^2. "beta" is the
            variance of the forward step, (sigma_t f)^2, an upper bound that is exact for standard normal data; with few
            steps it leaves far too much noise at the end.
    Source:
        Ho et al. 2020, section 3.2, for any alpha and sigma.
    """

    variance: Literal["beta-tilde", "beta"] = "beta-tilde"

    order = 1
    stochastic = True
    default_steps = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variance not in ("beta-tilde", "beta"):
            raise InputError(f"ddpm: variance must be 'beta-tilde' or 'beta', got {self.variance!r}")

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        a, b, c = renoise_weights(sde, t, s)  # x_s above, in terms of x_t, x_0 and z
        return a, b, sde.sigma(t) / sde.sigma(s) * c if self.variance == "beta" else c
