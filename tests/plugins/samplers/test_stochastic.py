"""Properties of the stochastic samplers: deterministic limit, strong order, invalid options."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.integrators import data_prediction, polynomial_weights
from sdekit.processes import EDM, SDE, VE, VP, TabulatedVP, as_time
from sdekit.sampling import Brownian, Sampler, SeedNoise, karras, sample
from sdekit_plugins.samplers.adaptive_sde import AdaptiveSDE
from sdekit_plugins.samplers.ddim import DDIM
from sdekit_plugins.samplers.ddpm import DDPM
from sdekit_plugins.samplers.dpmpp_2m_sde import DPMpp2MSDE
from sdekit_plugins.samplers.dpmpp_2s_ancestral import DPMpp2SAncestral
from sdekit_plugins.samplers.dpmpp_3m_sde import DPMpp3MSDE
from sdekit_plugins.samplers.dpmpp_sde import DPMppSDE
from sdekit_plugins.samplers.edm_stochastic import EDMStochastic
from sdekit_plugins.samplers.er_sde import ERSDE
from sdekit_plugins.samplers.euler_ancestral import EulerAncestral
from sdekit_plugins.samplers.restart import Restart
from sdekit_plugins.samplers.reverse_diffusion import ReverseDiffusion
from sdekit_plugins.samplers.sa_solver import SASolver

PROCESSES = {name: registry.build("sde", name) for name in registry.component_names("sde")}
MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4], [0.2, 1.0]]), 0.4)
START = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def run(sampler: Sampler | str, sde: SDE, steps: int = 12) -> Tensor:
    """x_0 from the same start, in float64."""
    x = sde.prior(START)
    return sample(sde, MIXTURE.denoiser(sde), sampler, shape=(2,), x=x, steps=steps, grid="log-snr", dtype=x.dtype).x


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    ("quiet", "limit"),
    [
        (EulerAncestral(eta=0), "ddim"),
        (EDMStochastic(s_churn=0), "heun"),
        (EDMStochastic(s_churn=0, method="ddim"), "ddim"),
        (Restart(repeats=0), "heun"),
        (DPMppSDE(eta=0), "dpmpp-2s"),
        (DPMpp2SAncestral(eta=0), "dpmpp-2s"),
        (DPMpp2MSDE(eta=0), "dpmpp-2m"),
        (DPMpp3MSDE(eta=0), "dpmpp-3m"),
        (SASolver(tau=0, predictor=1, corrector=0), "ddim"),
        (SASolver(tau=0, predictor=3, corrector=0), "dpmpp-3m"),
    ],
    ids=str,
)
def test_without_noise(quiet: Sampler, limit: str, process: str) -> None:
    """With no noise it is the deterministic method, to 1e-9."""
    sde = PROCESSES[process]
    if limit == "dpmpp-3m" and sde.rho(as_time(sde.t_max)) > 1e4:
        pytest.skip("dpmpp-3m repeats its first step where alpha is 0")
    assert torch.allclose(run(quiet, sde), run(limit, sde), rtol=0, atol=1e-9)


@pytest.mark.parametrize("process", PROCESSES)
def test_predictor_and_corrector_without_noise(process: str) -> None:
    """sa-solver with tau = 0 is the plain Adams-Bashforth-Moulton pair of `multistep.py`, which merges the two."""
    sde = PROCESSES[process]
    times = registry.build("grid", "log-snr")(sde, 11)
    x, denoise, form = sde.prior(START), MIXTURE.denoiser(sde), data_prediction(sde, times)
    predictor = polynomial_weights(form, torch.log, 3)
    pair = form.coefficients(predictor, polynomial_weights(form, torch.log, 3, implicit=True))
    expected = torch.stack(list(pair.run(denoise, x, times, None)))  # type: ignore[arg-type]
    path = SASolver(tau=0).trajectory(sde, denoise, x, times, None)  # type: ignore[arg-type]
    assert torch.allclose(torch.stack([*path]), expected, rtol=0, atol=1e-9 * float(x.abs().max().clamp(min=1)))
    *_, uncorrected = form.coefficients(predictor).run(denoise, x, times, None)  # type: ignore[arg-type]
    assert not torch.allclose(expected[-1], uncorrected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    ("sampler", "same"),
    [
        (EulerAncestral(), DDPM()),
        (EulerAncestral(eta=0.6), DDIM(eta=0.6)),
        (SASolver(predictor=1, corrector=0), DDPM()),
        (SASolver(predictor=3, corrector=0, tau=0.7), DPMpp3MSDE(eta=0.7)),
    ],
    ids=str,
)
def test_one_method_by_two_names(sampler: Sampler, same: Sampler, process: str) -> None:
    """Different derivations of one step, draw for draw."""
    sde = PROCESSES[process]
    assert torch.allclose(run(sampler, sde), run(same, sde), rtol=0, atol=1e-9)


@cache
def path(name: str, process: str, n: int) -> Tensor:
    """x at rho = 0.01 on 100 fixed Brownian paths, from rho = 50: no grid divides the step from where alpha is 0."""
    sde, seeds = PROCESSES[process], range(100)
    noise = Brownian(sde, seeds, (2,), dtype=torch.float64)
    times = sde.time(torch.logspace(math.log10(50), -2, n + 1, dtype=torch.float64)).clamp(sde.t_min, sde.t_max)
    start = MIXTURE.sample(100, 1, sde, times[0])
    *_, x = registry.build("sampler", name).trajectory(sde, MIXTURE.denoiser(sde), start, times, noise)
    return x


@pytest.mark.parametrize("process", ["vp", "ve", "cosine", "rectified-flow"])
@pytest.mark.parametrize(
    "name", ["ddpm", "euler-ancestral", "reverse-diffusion", "dpmpp-sde", "dpmpp-2m-sde", "sa-solver"]
)
def test_strong_order(name: str, process: str) -> None:
    """On one Brownian path, halving the steps halves the distance to a run of many: strong order 1."""
    exact = path("dpmpp-2m-sde", process, 400)
    errors = [float((path(name, process, n) - exact).square().mean().sqrt()) for n in (25, 100)]
    assert math.log2(errors[0] / errors[1]) / 2 > 0.7, errors
    assert errors[1] < 0.1


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (DDPM, {"variance": "beta_tilde"}, "ddpm: variance must be 'beta-tilde' or 'beta', got 'beta_tilde'"),
        (EulerAncestral, {"eta": 1.1}, "euler-ancestral: needs 0 <= eta <= 1 and s_noise > 0, got 1.1"),
        (EulerAncestral, {"s_noise": 0.0}, "and 0.0"),
        (EDMStochastic, {"s_churn": -1.0}, "edm-stochastic: needs s_churn >= 0 and s_noise > 0, got -1.0"),
        (EDMStochastic, {"s_min": 2.0, "s_max": 1.0}, "needs 0 <= s_min <= s_max, got 2.0 and 1.0"),
        (EDMStochastic, {"method": "ddpm"}, "'ddpm' is not a deterministic one-step sampler: try 'heun'"),
        (EDMStochastic, {"method": "dpmpp-2m"}, "'dpmpp-2m' is not a deterministic one-step sampler"),
        (EDMStochastic, {"method": "huen"}, "no sampler 'huen'; did you mean 'heun'"),
        (Restart, {"s_min": 0.0}, "restart: needs 0 < s_min < s_max and repeats >= 0, got 0.0"),
        (Restart, {"repeats": -1}, "and -1"),
        (Restart, {"method": "ode"}, "restart: 'ode' is not a deterministic one-step sampler"),
        (DPMppSDE, {"eta": -0.1}, "dpmpp-sde: eta must be between 0"),
        (DPMpp2MSDE, {"eta": math.nan}, "dpmpp-2m-sde: eta must be between 0 .* and 4.*, got nan"),
        (DPMpp3MSDE, {"eta": -1.0}, "dpmpp-3m-sde: eta must be between 0"),
        (SASolver, {"tau": -1.0}, "sa-solver: tau must be between 0"),
        (SASolver, {"predictor": 5}, "needs 1 <= predictor <= 4 and 0 <= corrector <= 4, got 5 and 3"),
        (ERSDE, {"values": 4}, "er-sde: values must be 1, 2 or 3, got 4"),
        (AdaptiveSDE, {"rtol": 0.0}, "adaptive-sde: tolerances must be positive, got rtol=0.0"),
    ],
)
def test_bad_options(make: Any, options: dict[str, Any], message: str) -> None:
    """An invalid option raises an error when the sampler is built."""
    with pytest.raises(InputError, match=message):
        make(**options)


@pytest.mark.parametrize("s_churn", [0.0, 5.0, 500.0])
def test_churn_is_algorithm_2(s_churn: float) -> None:
    """On EDM and its grid it is Karras et al. 2022, Algorithm 2, to 1e-9; the level never passes the process's."""
    sde, n, (low, high), s_noise = EDM(), 9, (0.05, 50.0), 1.003
    denoise = MIXTURE.denoiser(sde)
    t = [*karras(sde, n - 1).tolist(), 0.0]
    draws = SeedNoise(range(5), (2,), dtype=torch.float64)
    x = t[0] * draws()
    for i in range(n):
        gamma = min(s_churn / n, math.sqrt(2) - 1) if low <= t[i] <= high else 0.0  # lines 4-6
        up = t[i] * (1 + gamma)
        if gamma and i + 1 < n:  # the last step is the final denoising
            x = x + (up**2 - t[i] ** 2) ** 0.5 * s_noise * draws()  # line 7
        else:
            up = t[i]
        d = (x - denoise(x, as_time(up))) / up  # line 8
        ahead = x + (t[i + 1] - up) * d  # line 9
        if t[i + 1] != 0:
            d2 = (ahead - denoise(ahead, as_time(t[i + 1]))) / t[i + 1]
            ahead = x + (t[i + 1] - up) * (d / 2 + d2 / 2)  # line 12
        x = ahead
    sampler = EDMStochastic(s_churn=s_churn, s_min=low, s_max=high, s_noise=s_noise)
    result = sample(sde, denoise, sampler, shape=(2,), n=5, steps=n, dtype=torch.float64)
    assert torch.allclose(result.x, x, rtol=0, atol=1e-9) and result.nfe == 2 * n - 1


def test_churn_stays_within_the_process() -> None:
    """From t_max there is no higher level, and just below it t_max is the highest."""
    seen: list[float] = []

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        seen.append(float(t))
        return 0 * x

    for process in ("edm", "rectified-flow", "vp"):
        sample(PROCESSES[process], denoise, EDMStochastic(s_churn=100), shape=(2,), n=2, steps=40)
        assert max(seen) <= PROCESSES[process].t_max
        seen.clear()


def test_restart_goes_up_again() -> None:
    """The stretch between s_min and s_max is walked repeats + 1 times, and the calls are those of its steps."""
    sde = EDM()
    times = karras(sde, 19)
    low, high = ((times / s).log().abs().argmin() for s in (0.1, 2.0))
    result = sample(
        sde, MIXTURE.denoiser(sde), Restart(s_min=0.1, s_max=2.0, repeats=3), shape=(2,), n=2, steps=20, grid="karras"
    )
    assert result.nfe == 2 * 19 + 3 * 2 * int(low - high) + 1


@pytest.mark.parametrize("sde", [VP(), VE()], ids=["vp", "ve"])
def test_reverse_diffusion_is_as_printed(sde: SDE) -> None:
    """Song et al. 2021: VE as in Algorithm 2, line 4; VP as in Algorithm 3, line 4, with beta of the step."""
    t, s = as_time(0.6), as_time(0.58)
    x, z = torch.randn(2, 5, 2, dtype=torch.float64)
    score = MIXTURE.score(x, sde, t)
    if isinstance(sde, VE):
        v = sde.sigma(t) ** 2 - sde.sigma(s) ** 2
        expected = x + v * score + v.sqrt() * z
    else:
        beta = 1 - (sde.alpha(t) / sde.alpha(s)) ** 2
        expected = (2 - (1 - beta).sqrt()) * x + beta * score + beta.sqrt() * z
    result = ReverseDiffusion().step(sde, MIXTURE.denoiser(sde), x, t, s, lambda t=None, s=None: z)
    assert torch.allclose(result, expected, rtol=1e-9, atol=1e-9)


def test_variance_beta() -> None:
    """On the knots the new noise has Ho et al. 2020's upper bound beta_t instead of the posterior's beta-tilde."""
    sde = TabulatedVP.linear(n=100, beta_max=0.2)
    i = 40  # from knot 41/100 to 40/100, by betas[40]
    beta, bar = sde.betas[i], torch.tensor(sde.betas, dtype=torch.float64).neg().add(1).cumprod(0)
    variances = {"beta": beta, "beta-tilde": float(beta * (1 - bar[i - 1]) / (1 - bar[i]))}
    x = torch.zeros(1, 1, dtype=torch.float64)
    for variance, expected in variances.items():
        ends = [
            DDPM(variance=variance).step(  # type: ignore[arg-type]
                sde, lambda x, t: x, x, as_time((i + 1) / 100), as_time(i / 100), lambda t=None, s=None, z=z: x + z
            )
            for z in (0.0, 1.0)
        ]
        assert math.isclose(float(ends[1] - ends[0]) ** 2, expected, rel_tol=1e-9)


def test_adaptive_takes_what_its_tolerance_asks() -> None:
    """A tenth of the tolerance takes more calls; a tolerance that cannot be met raises an error with the time."""
    sde = VP()
    calls = [
        sample(sde, MIXTURE.denoiser(sde), AdaptiveSDE(rtol=rtol, atol=rtol), shape=(2,), n=8).nfe
        for rtol in (0.1, 0.01)
    ]
    assert calls[0] < calls[1] / 1.3
    with pytest.raises(SdekitError, match="adaptive-sde: cannot meet rtol=0.05, .* at t = .*: raise the tolerances"):
        sample(sde, lambda x, t: 1e9 * torch.sin(1e6 * x).sign(), AdaptiveSDE(), shape=(2,), n=2)
    late = torch.tensor(0.4)
    broken = lambda x, t: MIXTURE.denoiser(sde)(x, t) + torch.where(t < late, math.nan, 0.0).view(-1, 1)  # noqa: E731
    with pytest.raises(SdekitError, match=r"call \d\d? of the denoiser, at t = 0\.3.*its result .* has seed 3"):
        sample(sde, broken, AdaptiveSDE(), shape=(2,), seeds=[3])


def test_adaptive_stops_at_every_time() -> None:
    """On a grid it gives x at each time: the standard deviation there is p_t's."""
    sde = VP()
    result = sample(sde, MIXTURE.denoiser(sde), AdaptiveSDE(), shape=(2,), n=500, steps=6, trajectory=True)
    assert result.trajectory is not None and result.trajectory.shape == (7, 500, 2)
    for x, t in zip(result.trajectory[:-1], result.times, strict=True):
        exact = MIXTURE.sample(20_000, 3, sde, t)
        assert torch.allclose(x.double().std(0), exact.std(0), rtol=0.12, atol=0)
