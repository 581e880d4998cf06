"""Stochastic samplers draw from p_t: mean and covariance on the way, against the exact ones."""

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.processes import SDE, as_time
from sdekit.sampling import Sampler, karras
from sdekit_plugins.samplers.ddim import DDIM
from sdekit_plugins.samplers.pc import PC

N = 4000
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[-1.0, 0.0], [1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
WIDE = torch.cat([MEANS, torch.zeros(3, 14, dtype=torch.float64)], 1)
# "langevin" takes long steps in few dimensions, where the score can be near 0 (its norms are of images): 16 for it.
SAMPLERS: dict[str, tuple[Sampler, Tensor]] = {
    **{
        name: (registry.build("sampler", name), MEANS)
        for name in registry.component_names("sampler")
        if registry.build("sampler", name).stochastic
    },
    "ddim-eta": (DDIM(eta=0.5), MEANS),
    "pc-heun": (PC(predictor="heun"), MEANS),
    "pc-ddim-twice": (PC(predictor="ddim", corrections=2, snr=0.1), MEANS),
    "pc-euler-maruyama": (PC(predictor="euler-maruyama"), MEANS),
    "pc-langevin": (PC(predictor="ddpm", corrector="langevin", snr=0.1), WIDE),
}


CASES = [
    (n, p)
    for n in SAMPLERS
    for p in ("vp", "ve", "rectified-flow")
    if p == "vp" or n in registry.component_names("sampler")
]


@pytest.mark.parametrize(("name", "process"), CASES)
def test_moments_on_the_way(name: str, process: str) -> None:
    """At t_min and twice before, 4000 samples have p_t's mean and covariance: 4 standard errors and 3 % of bias."""
    (sampler, means), sde = SAMPLERS[name], registry.build("sde", process)
    d, generator = means.shape[1], torch.Generator().manual_seed(0)
    mixture = GaussianMixture(means, 0.5, WEIGHTS)

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        return torch.randn(N, d, generator=generator)

    times = karras(sde, 120)
    x = mixture.sample(N, 3, sde, as_time(sde.t_max)).float()
    path = list(sampler.trajectory(sde, mixture.denoiser(sde), x, times, noise))
    for i in (45, 85, 120):
        check(path[i - 1][:, :2].double(), sde, times[i])


def check(x: Tensor, sde: SDE, t: Tensor) -> None:
    """The first two coordinates against alpha m and alpha^2 C + sigma^2."""
    alpha, sigma, m = sde.alpha(t), sde.sigma(t), WEIGHTS @ MEANS
    cov = torch.einsum("k,ki,kj->ij", WEIGHTS, MEANS - m, MEANS - m) + 0.25 * torch.eye(2)
    cov = alpha**2 * cov + sigma**2 * torch.eye(2)
    sd = cov.diagonal().sqrt()
    assert ((x.mean(0) - alpha * m).abs() / sd < 4 / N**0.5 + 0.03).all()
    # a covariance of standardised normals has standard error sqrt(2 / N) at most
    assert ((x.T.cov() - cov).abs() / torch.outer(sd, sd) < 4 * (2 / N) ** 0.5 + 0.06).all()
