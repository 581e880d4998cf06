"""SA-Solver: stochastic Adams methods, predictor and corrector."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import (
    Multistep,
    MultistepCoefficients,
    PowerNoiseScaling,
    check_eta,
    sde_multistep_coefficients,
)
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class SASolver(Multistep):
    """SA-Solver: a stochastic Adams predictor-corrector in log-SNR, one call per step.

        x_s = (sigma_s / sigma_t) k x_t + alpha_s sum_j w_j D_j + sigma_s sqrt(1 - k^2) z

    with k = (rho_s / rho_t)^(tau^2). The w_j are the exact integrals of the Lagrange polynomials in log rho through the
    last values D_j. As soon as D at s is known, the corrector repeats the step with this value too and the same z. Weak
    order 2 (on Gaussians).

    Arguments:
        tau: Standard deviation of the noise relative to the noise of the reverse SDE, in [0, 4].
        predictor: Number of values of D in the predictor, 1 to 4.
        corrector: Number of values of D in the corrector, 1 to 4; 0 leaves the corrector out.
    Source:
        Xue et al. 2023, Algorithm 1, with a constant tau.
    """

    tau: float = 1.0
    predictor: int = 3
    corrector: int = 3

    default_grid = "log-snr"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_eta("sa-solver", self.tau, "tau")
        if not (1 <= self.predictor <= 4 and 0 <= self.corrector <= 4):
            raise InputError(
                "sa-solver: needs 1 <= predictor <= 4 and 0 <= corrector <= 4, got "
                f"{self.predictor} and {self.corrector}"
            )

    @property
    def order(self) -> int:
        """Weak order: the largest number of values in predictor and corrector, at most 2 because of the noise."""
        return min(2, max(self.predictor, self.corrector))

    @property
    def stochastic(self) -> bool:
        """Whether tau is above 0."""
        return self.tau > 0

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        scaling = PowerNoiseScaling(self.tau)
        return sde_multistep_coefficients(sde, times, scaling, self.predictor, corrector=self.corrector)
