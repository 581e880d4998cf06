"""DiffPIR: each step solves a proximal problem between the denoised x_0 and the measurement."""

from dataclasses import KW_ONLY, dataclass

from torch import Tensor

from sdekit.errors import InputError
from sdekit.inverse import Problem, regularized_least_squares
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True)
class DiffPIR(Sampler):
    """DiffPIR: x_0 solves a proximal problem between D(x_t) and the measurement, then noise is added.

    x_0 = argmin_x |y - A x|^2 / noise_std^2 + weight |x - D(x_t)|^2 / rho_t^2 and
    x_s = alpha_s x_0 + sigma_s (sqrt(1 - zeta) eps + sqrt(zeta) z), with eps the noise in x_t given x_0. No derivative
    of the network is needed.

    Arguments:
        problem: The inverse problem, with a linear operator.
        weight: Weight of the denoised x_0, above 0; with 1, D(x_t) is treated as an estimate of x_0 with variance
            rho_t^2.
        zeta: Share of new noise in the variance, in [0, 1].
    Raises:
        InputError: If an option is out of range, or the operator is not linear.
    Source:
        Zhu et al. 2023, Algorithm 1, where weight is called lambda.
    """

    problem: Problem
    _: KW_ONLY
    weight: float = 7.0
    zeta: float = 0.3

    stochastic = True
    default_steps = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weight > 0 or not 0 <= self.zeta <= 1:
            raise InputError(f"diffpir: needs weight > 0 and zeta between 0 and 1, got {self.weight} and {self.zeta}")
        self.problem.linear("diffpir")

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        operator = self.problem.linear("diffpir")
        x0 = denoise(x, t)
        # with rho_t^-2 = (alpha / sigma)^2, which is 0 at a time where alpha is 0
        noise_variance = float(self.weight * (sde.alpha(t) / sde.sigma(t)) ** 2) * self.problem.noise_std**2
        x0 = x0 + regularized_least_squares(operator, self.problem.residual(x0), 1.0, noise_variance)
        eps = (1 - self.zeta) ** 0.5 * sde.eps(x, x0, t) + self.zeta**0.5 * noise(t, s)
        return sde.perturb(x0, s, eps)
