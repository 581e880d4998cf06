"""The declared order of every sampler is the measured one.

The references are closed forms. The probability flow keeps the order of the points on a line, so that in one dimension
it maps quantiles of p_t to the same quantiles of p_s: no solver is compared with a solver.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.processes import SDE, Denoiser, as_time
from sdekit.sampling import Noise, Sampler
from sdekit_plugins.samplers.deis import DEIS
from sdekit_plugins.samplers.dpmpp_3m import DPMpp3M
from sdekit_plugins.samplers.ipndm import IPNDM
from sdekit_plugins.samplers.lms import LMS
from sdekit_plugins.samplers.ode import FIXED, ODE
from sdekit_plugins.samplers.unipc import UniPC

PROCESSES = {name: registry.build("sde", name) for name in registry.component_names("sde")}
each_process = pytest.mark.parametrize("process", PROCESSES)
REGISTERED = {name: registry.build("sampler", name) for name in registry.component_names("sampler")}
MEASURED = {name: s for name, s in REGISTERED.items() if s.order is not None}
DETERMINISTIC: dict[str, Sampler] = {
    **{name: s for name, s in MEASURED.items() if not s.stochastic},
    **{f"ode-{m}": ODE(method=m) for m in FIXED},
    **{f"deis-{v}-{k}": DEIS(variable=v, order=k) for v, k in (("tAB", 2), ("rhoAB", 3), ("logrhoAB", 3))},
    **{f"deis-{v}-4": DEIS(variable=v, order=4, start="corrected") for v in ("rhoAB", "logrhoAB")},
    **{f"ipndm-{k}": IPNDM(points=k) for k in (1, 2)},
    **{f"lms-{k}": LMS(order=k) for k in (1, 2, 3)},
    **{f"unipc-{k}-bh1": UniPC(order=k, variant="bh1") for k in (2, 3)},
    "dpmpp-3m-corrected": DPMpp3M(start="corrected"),
}
PAIRS = [
    (name, process)
    for name in DETERMINISTIC
    for process in PROCESSES
    if name in REGISTERED or process in ("vp", "ve", "cosine", "rectified-flow")
]
STOCHASTIC = {name: s for name, s in MEASURED.items() if s.stochastic}

MEANS, STDS, WEIGHTS = np.array([-1.0, 1.0]), np.array([0.8, 0.6]), np.array([0.6, 0.4])
MIXTURE = GaussianMixture(torch.from_numpy(MEANS)[:, None], torch.from_numpy(STDS), torch.from_numpy(WEIGHTS))


@cache
def quantiles(process: str, t: float) -> Tensor:
    """Seven quantiles of p_t, (7, 1), from the normal distribution function alone."""
    alpha, sigma = (float(scale(as_time(t))) for scale in (PROCESSES[process].alpha, PROCESSES[process].sigma))
    stds = np.sqrt(alpha**2 * STDS**2 + sigma**2)

    def excess(x: float, level: float) -> float:
        return float(WEIGHTS @ norm.cdf((x - alpha * MEANS) / stds)) - level

    return torch.tensor(
        [
            [brentq(excess, -500, 500, (level,), xtol=1e-15, rtol=1e-15, maxiter=500)]
            for level in np.linspace(0.05, 0.95, 7)
        ],
        dtype=torch.float64,
    )


def last(sampler: Sampler, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise | None = None) -> Tensor:
    """x at the last of the times, before the final denoising."""
    *_, x = sampler.trajectory(sde, denoise, x, times, noise)  # type: ignore[arg-type]
    return x


@pytest.mark.parametrize(("name", "process"), PAIRS)
def test_deterministic(name: str, process: str) -> None:
    """The error at the end falls as n^-order: slope at least order - 0.25, and of a first-order method at most 1.5."""
    sampler, sde = DETERMINISTIC[name], PROCESSES[process]
    x, denoise = quantiles(process, sde.t_max), MIXTURE.denoiser(sde)
    grid = registry.build("grid", sampler.default_grid)
    assert sampler.order is not None
    n, errors = (
        (80 if name == "auto" else 160) // (sampler.calls_per_step or 1),
        [],
    )  # auto is soon down to 1e-8: its start
    for times in (grid(sde, n), grid(sde, 2 * n)):
        exact = quantiles(process, float(times[-1]))
        errors.append(float((last(sampler, sde, denoise, x, times) - exact).abs().max()))
    slope = math.log2(errors[0] / errors[1])
    assert slope >= sampler.order - 0.25, errors
    assert sampler.order > 1 or slope <= 1.5 or isinstance(sampler, IPNDM), (
        errors
    )  # its order grows with the grid's care
    assert errors[1] < 0.1


def moments_error(sampler: Sampler, sde: SDE, n: int) -> float:
    """Largest error of mean and standard deviation at t_min, over three Gaussians, with no Monte-Carlo.

    For a Gaussian the denoiser is affine, so x at t_min is affine in the first x and in every draw: its coefficients
    are read off by a batch of unit inputs. The three Gaussians are the coordinates of one.
    """
    # Equal steps in t are where first order shows soonest, unless t is the noise level itself; polynomials in log rho
    # want steps of like size in it.
    times = registry.build("grid", "log-snr" if sde.t_max > 1 or (sampler.order or 1) > 1 else "uniform")(sde, n)
    mean, std = torch.tensor([[0.7, -0.5, 1.0], [0.3, 0.8, 1.5]], dtype=torch.float64)
    denoise, count = GaussianMixture(mean[None], std[None]).denoiser(sde), 0

    def silence(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        nonlocal count
        count += 1
        return torch.zeros(1, 3, dtype=torch.float64)

    last(sampler, sde, denoise, torch.zeros(1, 3, dtype=torch.float64), times, silence)
    units = torch.eye(count + 2, dtype=torch.float64)[..., None].expand(-1, -1, 3)  # row 0: neither an x nor a draw
    draws = iter(units[:, 2:].unbind(1))
    out = last(sampler, sde, denoise, units[:, 1], times, lambda t=None, s=None: next(draws))
    assert next(draws, None) is None
    slopes = out[1:] - out[0]
    start, end = ((sde.alpha(as_time(t)), sde.sigma(as_time(t))) for t in (sde.t_max, sde.t_min))
    first = (start[0] ** 2 * std**2 + start[1] ** 2).sqrt()
    reached = out[0] + slopes[0] * start[0] * mean, ((slopes[0] * first) ** 2 + (slopes[1:] ** 2).sum(0)).sqrt()
    exact = end[0] * mean, (end[0] ** 2 * std**2 + end[1] ** 2).sqrt()
    return float(max((a - b).abs().max() for a, b in zip(reached, exact, strict=True)))


@each_process
@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic(name: str, process: str) -> None:
    """The weak error, of mean and standard deviation, falls as n^-order: exactly propagated, no Monte-Carlo error."""
    sampler, sde = STOCHASTIC[name], PROCESSES[process]
    errors = [moments_error(sampler, sde, n) for n in (50, 100)]
    slope = math.log2(errors[0] / errors[1])
    assert sampler.order is not None
    assert slope >= sampler.order - 0.25, errors
    assert errors[1] < 0.2


@each_process
def test_langevin_corrects(process: str) -> None:
    """pc's moments are nearer to the exact ones than its predictor's, the more so the larger the correction."""
    sde = PROCESSES[process]
    predictor = moments_error(registry.build("sampler", "ddpm"), sde, 20)
    errors = [
        moments_error(registry.build("sampler", "pc", predictor="ddpm", snr=snr), sde, 20) for snr in (0.2, 0.1, 0.01)
    ]
    assert errors[0] < errors[1] < errors[2] < predictor
    assert errors[2] > 0.98 * predictor
