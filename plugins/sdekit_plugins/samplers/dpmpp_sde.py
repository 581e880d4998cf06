"""DPM-Solver++ of the reverse SDE, in single steps of second order."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.integrators import PowerNoiseScaling, check_eta, exponential_step
from sdekit.processes import SDE, Denoiser, FlowCoordinates
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class DPMppSDE(Sampler):
    """DPM-Solver++ of the reverse SDE: a stochastic second-order single-step method, two calls per step.

        x_m = (sigma_m / sigma_t) k x_t + alpha_m (1 - k q) D(x_t, t) + sigma_m sqrt(1 - k^2) z,
        x_s = (sigma_s / sigma_t) k x_t + alpha_s (1 - k q) D(x_m, m) + sigma_s sqrt(1 - k^2) z

    with q the ratio of rho at the two ends of each step and k = q^(eta^2). m is the middle in log rho. The noise of the
    second formula is composed of the noise of the two halves of the step, so that both formulas use the same path of
    the reverse SDE. Weak order 2 (on Gaussians), strong order 1.

    Arguments:
        eta: Standard deviation of the noise relative to the noise of the reverse SDE, in [0, 4]; 0 is `dpmpp-2s`.
    Source:
        Lu et al. 2022b, Algorithm 1; Crowson 2022 (k-diffusion).
    """

    eta: float = 1.0

    order = 2
    calls_per_step = 2
    default_steps = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        check_eta("dpmpp-sde", self.eta)

    @property
    def stochastic(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        scaling, m = PowerNoiseScaling(self.eta), FlowCoordinates(sde).middle(t, s)
        a_m, b_m, c_m = exponential_step(sde, t, m, scaling)
        a_s, b_s, _ = exponential_step(sde, t, s, scaling)
        decay, _, c_s = exponential_step(sde, m, s, scaling)
        x0 = denoise(x, t)
        x_m, x_s = a_m * x + b_m * x0, a_s * x
        if self.eta:
            z = noise(t, m)
            x_m = x_m + c_m * z
            x_s = x_s + decay * c_m * z + c_s * noise(m, s)  # the decayed noise of the first half, and the second
        return x_s + b_s * denoise(x_m, m)
