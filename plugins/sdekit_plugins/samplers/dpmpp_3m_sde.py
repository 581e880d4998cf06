"""DPM-Solver++(3M) of the reverse SDE."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from sdekit.integrators import PowerNoiseScaling, check_eta, sde_multistep_coefficients
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class DPMpp3MSDE(Sampler):
    """The reverse SDE in log rho, exact but for x_0, which is a parabola through its last three values.

    As `dpmpp-2m-sde` with one value more. The noise within a step limits it: weak order 2 (on Gaussians), and 3 with
    eta = 0. eta: standard deviation of the noise relative to the reverse SDE's, in [0, 4].
    Source: Crowson 2022 (k-diffusion), after Lu et al. 2022b, which give the curvature half of its
    weight, so that their eta = 0 has order 2. Here the parabola is integrated exactly.
    """

    eta: float = 1.0

    order = 2
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        check_eta("dpmpp-3m-sde", self.eta)

    @property
    def stochastic(self) -> bool:
        """Where eta is above 0."""
        return self.eta > 0

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        yield from sde_multistep_coefficients(sde, times, PowerNoiseScaling(self.eta), 3).run(denoise, x, times, noise)
