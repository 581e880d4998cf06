"""SA-Solver: stochastic Adams methods, predictor and corrector."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import PowerNoiseScaling, check_eta, sde_multistep_coefficients
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class SASolver(Sampler):
    """Stochastic Adams: predict with the last values of x_0, then correct with the new one, at no further call.

    x_s = (sigma_s / sigma_t) q^(tau^2) x_t + alpha_s sum_j w_j x_0j + sigma_s sqrt(1 - q^(2 tau^2)) z, q = rho_s /
    rho_t, w_j the exact integrals of the Lagrange polynomials in log rho; the corrector keeps z. Weak order 2 (on
    Gaussians). tau: standard deviation of the noise relative to the reverse SDE's, in [0, 4]. predictor, corrector:
    values of x_0 that each goes through, 1 to 4; corrector 0 leaves it out. Source: Xue et al. 2023, Algorithm 1, with
    a constant tau.
    """

    tau: float = 1.0
    predictor: int = 3
    corrector: int = 3

    default_grid = "log-snr"

    def __post_init__(self) -> None:
        check_eta("sa-solver", self.tau, "tau")
        if not (1 <= self.predictor <= 4 and 0 <= self.corrector <= 4):
            raise InputError(
                "sa-solver: needs 1 <= predictor <= 4 and 0 <= corrector <= 4, got "
                f"{self.predictor} and {self.corrector}"
            )

    @property
    def order(self) -> int:
        """Weakly: 2, the most that the noise allows, where either goes through two values."""
        return min(2, max(self.predictor, self.corrector))

    @property
    def stochastic(self) -> bool:
        """Where tau is above 0."""
        return self.tau > 0

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        coefficients = sde_multistep_coefficients(
            sde, times, PowerNoiseScaling(self.tau), self.predictor, corrector=self.corrector
        )
        yield from coefficients.run(denoise, x, times, noise)
