"""DDPM's ancestral sampling, on any process."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import SDE, renoise_weights


@dataclass(frozen=True, kw_only=True)
class DDPM(OneStep):
    """Ancestral sampling: each step draws from the posterior q(x_s | x_t, x_0) at the denoised x_0.

    x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2) eps + fresh z), fresh = sqrt(1 - (rho_s / rho_t)^2). On the knots
    of `TabulatedVP` this is Ho et al. 2020, eq. 6-7 (variance beta-tilde). Weak order 1, strong order 1.
    variance: of the fresh noise. "beta-tilde", sigma_s^2 fresh^2, is the posterior's; "beta", sigma_t^2 fresh^2, that
    of the forward step, is its upper bound (Ho et al. 2020, section 3.2): right for data that are standard normal, and
    for few steps far too much noise at the end.
    """

    variance: Literal["beta-tilde", "beta"] = "beta-tilde"

    order = 1
    stochastic = True
    default_steps = 200

    def __post_init__(self) -> None:
        if self.variance not in ("beta-tilde", "beta"):
            raise InputError(f"ddpm: variance must be 'beta-tilde' or 'beta', got {self.variance!r}")

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        old, new, fresh = renoise_weights(sde, t, s)
        return old, new, sde.sigma(t) / sde.sigma(s) * fresh if self.variance == "beta" else fresh
