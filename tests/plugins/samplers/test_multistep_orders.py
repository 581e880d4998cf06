"""The deterministic methods of several steps or stages: their published formulas, their options, their peers."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.models import ScoreModel
from sdekit.processes import EDM, SDE, VP, Denoiser, TabulatedVP, as_time
from sdekit.sampling import Sampler, sample
from sdekit_plugins.samplers.deis import DEIS
from sdekit_plugins.samplers.dpm_2 import DPM2
from sdekit_plugins.samplers.dpmpp_2m import DPMpp2M
from sdekit_plugins.samplers.dpmpp_2s import DPMpp2S
from sdekit_plugins.samplers.dpmpp_3m import DPMpp3M
from sdekit_plugins.samplers.exp_rk3 import ExpRK3
from sdekit_plugins.samplers.gradient_estimation import GradientEstimation
from sdekit_plugins.samplers.heun import Heun
from sdekit_plugins.samplers.ipndm import IPNDM
from sdekit_plugins.samplers.lms import LMS
from sdekit_plugins.samplers.unipc import UniPC

MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.5, 0.2], [0.7, -0.4, -1.0]]), 0.3)
METHODS: dict[str, Sampler] = {
    "dpm-2": DPM2(),
    "dpmpp-2s": DPMpp2S(),
    "dpmpp-2m": DPMpp2M(),
    "dpmpp-3m": DPMpp3M(),
    "dpmpp-3m-corrected": DPMpp3M(start="corrected"),
    **{f"deis-{v}-{k}": DEIS(variable=v, order=k) for v in ("tAB", "rhoAB", "logrhoAB") for k in (1, 2, 3, 4)},
    "deis-corrected": DEIS(order=4, start="corrected"),
    **{f"ipndm-{k}": IPNDM(points=k) for k in (1, 2, 3, 4)},
    **{f"lms-{k}": LMS(order=k) for k in (1, 2, 3, 4)},
    **{f"unipc-{k}-{v}": UniPC(order=k, variant=v) for k in (1, 2, 3) for v in ("bh1", "bh2")},
    "exp-rk3": ExpRK3(),
    "gradient-estimation": GradientEstimation(),
}


def path(sampler: Sampler, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor) -> list[Tensor]:
    """x at times[1:]."""
    return list(sampler.trajectory(sde, denoise, x, times, None))  # type: ignore[arg-type]


def same(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    """Two paths agree at every time."""
    assert len(ours) == len(theirs) > 0
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance), (i, (a - b).abs().max())


@pytest.mark.parametrize("process", registry.component_names("sde"))
@pytest.mark.parametrize("name", METHODS)
def test_finite_at_any_number_of_steps(name: str, process: str) -> None:
    """From 1 to 50 steps, on the default grid and on equal steps in t, samples are finite, in float32 too."""
    sde = registry.build("sde", process)
    for steps in (1, 2, 3, 20):
        for grid in (None, "uniform"):
            x = sample(sde, MIXTURE.denoiser(sde), METHODS[name], shape=(3,), n=2, steps=steps, grid=grid).x
            assert x.isfinite().all() and x.abs().max() < 1e3


def start(sde: SDE, n: int = 8, grid: str = "karras") -> tuple[Denoiser, Tensor, Tensor]:
    """An exact denoiser, x at t_max, a grid."""
    torch.manual_seed(0)
    return MIXTURE.denoiser(sde), torch.randn(4, 3, dtype=torch.float64), registry.build("grid", grid)(sde, n)


def test_dpmpp_2m_is_algorithm_2() -> None:
    """Lu et al. 2022b, Algorithm 2, in alpha, sigma and lambda, step by step to 1e-12."""
    sde = VP()
    denoise, x, times = start(sde)
    alpha, sigma = sde.alpha(times), sde.sigma(times)
    h, expected, before, start_x = (alpha / sigma).log().diff(), [], None, x
    for i, t in enumerate(times[:-1]):
        d = x0 = denoise(x, t)
        if before is not None:
            r = h[i - 1] / h[i]
            d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before
        x = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * torch.expm1(-h[i]) * d
        before = x0
        expected.append(x)
    same(path(DPMpp2M(), sde, denoise, start_x, times), expected, 1e-12)


def third_order(sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, share: float) -> list[Tensor]:
    """DPM-Solver++(3M) with `share` of the second divided difference: 1 as published, 2 by Taylor's formula.

    As published its second step is 2M's; ours integrates the line that 2M takes the middle of.
    """
    alpha, sigma = sde.alpha(times), sde.sigma(times)
    h, out, m = (alpha / sigma).log().diff(), [], []
    for i, t in enumerate(times[:-1]):
        m = [denoise(x, t), *m[:2]]
        e, step = torch.expm1(-h[i]), h[i]
        x_s = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * e * m[0]
        if i:
            d10 = (m[0] - m[1]) * step / h[i - 1]
            d1, d2 = d10, 0 * d10
            if i > 1:
                r0, r1 = h[i - 1] / step, h[i - 2] / step
                d11 = (m[1] - m[2]) / r1
                d1, d2 = d10 + r0 / (r0 + r1) * (d10 - d11), (d10 - d11) / (r0 + r1)
            slope = -e / 2 if share == 1 and i == 1 else e / step + 1
            x_s = x_s + alpha[i + 1] * slope * d1 - share * alpha[i + 1] * ((e + step) / step**2 - 0.5) * d2
        x = x_s
        out.append(x)
    return out


def test_dpmpp_3m_is_corrected() -> None:
    """It is the published step with twice the second difference: the published order is 2, the corrected one is 3."""
    sde = VP()
    denoise, x, times = start(sde, 12, "log-snr")
    same(path(DPMpp3M(), sde, denoise, x, times), third_order(sde, denoise, x, times, 2.0), 1e-11)
    exact = path(ExpRK3(), sde, denoise, x, registry.build("grid", "log-snr")(sde, 800))[-1]
    slopes = {}
    for share in (1.0, 2.0):
        ends = [
            third_order(sde, denoise, x, registry.build("grid", "log-snr")(sde, n), share)[-1] - exact
            for n in (150, 300)
        ]
        slopes[share] = math.log2(float(ends[0].abs().max()) / float(ends[1].abs().max()))
    assert 1.7 < slopes[1.0] < 2.3 and slopes[2.0] > 2.75


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
def test_unipc_is_its_algorithm(variant: str) -> None:
    """Zhao et al. 2023, Algorithms 5-6 for x_0 with p = 2: x at each time is as predicted, from a corrected one."""
    sde = VP()
    denoise, x, times = start(sde, 8, "log-snr")
    alpha, sigma = sde.alpha(times), sde.sigma(times)
    lam = (alpha / sigma).log()
    m, expected, guess, begin = [denoise(x, times[0])], [], x, x
    for i in range(len(times) - 1):
        h = lam[i + 1] - lam[i]
        scale = -h if variant == "bh1" else torch.expm1(-h)
        base = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * torch.expm1(-h) * m[i]
        r = (lam[i - 1] - lam[i]) / h if i else None
        guess = base if r is None else base - alpha[i + 1] * scale * 0.5 * (m[i - 1] - m[i]) / r
        expected.append(guess)
        if i + 2 == len(times):
            break
        m.append(denoise(guess, times[i + 1]))
        new = m[i + 1] - m[i]
        if r is None:
            x = base - alpha[i + 1] * scale * 0.5 * new
        else:
            phi1 = torch.expm1(-h) / -h - 1
            phi2 = phi1 / -h - 0.5
            matrix = torch.stack([torch.ones(2, dtype=torch.float64), torch.stack([r, torch.ones_like(r)])])
            rho = torch.linalg.solve(matrix, torch.stack([phi1, 2 * phi2]) / scale)
            x = base - alpha[i + 1] * scale * (rho[0] * (m[i - 1] - m[i]) / r + rho[1] * new)
    same(path(UniPC(order=2, variant=variant), sde, denoise, begin, times), expected, 1e-10)  # type: ignore[arg-type]


def test_exp_rk3_is_dpm_solver_3() -> None:
    """The singlestep formula of the DPM-Solver++ code with r_1 = 1/3, r_2 = 2/3, to 1e-11."""
    sde = VP()
    denoise, x, times = start(sde, 6, "log-snr")
    expected, begin = [], x
    for t, s in pairwise(times):
        lam_t, lam_s = -sde.rho(t).log(), -sde.rho(s).log()
        h = lam_s - lam_t
        t1, t2 = (sde.time((-(lam_t + r * h)).exp()) for r in (1 / 3, 2 / 3))
        d0 = denoise(x, t)
        x1 = sde.sigma(t1) / sde.sigma(t) * x - sde.alpha(t1) * torch.expm1(-h / 3) * d0
        d1 = denoise(x1, t1)
        phi = torch.expm1(-2 * h / 3) / (2 * h / 3) + 1
        x2 = sde.sigma(t2) / sde.sigma(t) * x - sde.alpha(t2) * (torch.expm1(-2 * h / 3) * d0 - 2 * phi * (d1 - d0))
        d2 = denoise(x2, t2)
        phi = torch.expm1(-h) / h + 1
        x = sde.sigma(s) / sde.sigma(t) * x - sde.alpha(s) * (torch.expm1(-h) * d0 - 1.5 * phi * (d2 - d0))
        expected.append(x)
    same(path(ExpRK3(), sde, denoise, begin, times), expected, 1e-11)


@pytest.mark.parametrize("name", ["dpm-2", "gradient-estimation"])
def test_is_the_algorithm_in_sigma(name: str) -> None:
    """On EDM, where alpha = 1: the midpoint method at sqrt(sigma_t sigma_s), and Permenter & Yuan's Algorithm 2."""
    sde = EDM()
    denoise, x, times = start(sde)
    x = begin = 80 * x
    expected, before = [], None
    for t, s in pairwise(times):
        eps = (x - denoise(x, t)) / t
        if name == "dpm-2":
            m = (t * s).sqrt()
            x_m = x + (m - t) * eps
            x = x + (s - t) * (x_m - denoise(x_m, m)) / m
        else:
            x, before = x + (s - t) * (eps if before is None else 2 * eps - before), eps
        expected.append(x)
    same(path(METHODS[name], sde, denoise, begin, times), expected, 1e-10)


def test_lms_ipndm_and_deis_meet() -> None:
    """LMS is DEIS in rho; on equal steps of rho iPNDM is both; all of order 1 are DDIM."""
    sde = EDM()
    denoise, x, times = start(sde)
    for k in (1, 2, 3, 4):
        same(
            path(LMS(order=k), sde, denoise, x, times),
            path(DEIS(variable="rhoAB", order=k), sde, denoise, x, times),
            1e-14,
        )
        equal = torch.linspace(80, 0.01, 9, dtype=torch.float64)
        same(path(LMS(order=k), sde, denoise, x, equal), path(IPNDM(points=k), sde, denoise, x, equal), 1e-9)
    ddim = path(registry.build("sampler", "ddim"), sde, denoise, x, times)
    for method in (LMS(order=1), IPNDM(points=1), DEIS(order=1), GradientEstimation(gamma=1.0)):
        same(path(method, sde, denoise, x, times), ddim, 1e-12)


def test_the_corrector_of_unipc_adds_an_order() -> None:
    """With one old x_0 and the corrector it is of second order, and better than DDIM at the same calls."""
    sde = VP()
    denoise, x, _ = start(sde)
    grid = registry.build("grid", "log-snr")
    exact = path(ExpRK3(), sde, denoise, x, grid(sde, 400))[-1]
    for variant in ("bh1", "bh2"):
        errors = [
            float((path(METHODS[f"unipc-1-{variant}"], sde, denoise, x, grid(sde, n))[-2:][-1] - exact).abs().max())
            for n in (100, 200)
        ]
        assert math.log2(errors[0] / errors[1]) > 1.7
        ddim = path(registry.build("sampler", "ddim"), sde, denoise, x, grid(sde, 200))[-1]
        assert errors[1] < 0.2 * float((ddim - exact).abs().max())


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (DEIS, {"order": 5}, "deis: order must be 1, 2, 3 or 4, got 5"),
        (DEIS, {"variable": "t"}, "deis: variable must be 'tAB', 'rhoAB' or 'logrhoAB', got 't'"),
        (DEIS, {"start": "x"}, "deis: start must be 'plain' or 'corrected', got 'x'"),
        (LMS, {"order": 0}, "lms: order must be 1, 2, 3 or 4, got 0"),
        (LMS, {"start": "x"}, "lms: start must be"),
        (DPMpp3M, {"start": "x"}, "dpmpp-3m: start must be"),
        (IPNDM, {"points": 5}, "ipndm: points must be 1, 2, 3 or 4, got 5"),
        (UniPC, {"order": 4}, "unipc: order must be 1, 2 or 3, got 4"),
        (UniPC, {"variant": "bh3"}, "unipc: variant must be 'bh1' or 'bh2', got 'bh3'"),
        (GradientEstimation, {"gamma": 0.5}, "gradient-estimation: gamma must be at least 1"),
        (GradientEstimation, {"gamma": math.nan}, "gradient-estimation: gamma must be at least 1"),
    ],
)
def test_options_are_checked(sampler: Any, options: dict[str, Any], message: str) -> None:
    """An invalid option raises an error when the sampler is built, with the valid choices."""
    with pytest.raises(InputError, match=message):
        sampler(**options)


class Net(nn.Module):
    """An eps network of moderate slope in x and in the noise level."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return 0.8 * x + 0.3 * torch.sin(2 * x.flip(1) + c_noise[:, None])


@pytest.mark.parametrize(
    ("sampler", "scheduler", "options"),
    [
        (DPMpp2M(), "DPMSolverMultistepScheduler", {"lower_order_final": False}),
        (UniPC(order=1), "UniPCMultistepScheduler", {"solver_order": 1, "lower_order_final": False}),
        (UniPC(order=2), "UniPCMultistepScheduler", {"solver_order": 2, "lower_order_final": False}),
        (UniPC(order=3), "UniPCMultistepScheduler", {"solver_order": 3, "lower_order_final": False}),
        (
            UniPC(order=3, variant="bh1"),
            "UniPCMultistepScheduler",
            {"solver_order": 3, "solver_type": "bh1", "lower_order_final": False},
        ),
        (DEIS(variable="logrhoAB", order=2), "DEISMultistepScheduler", {"lower_order_final": False}),
        (DEIS(variable="logrhoAB", order=3), "DEISMultistepScheduler", {"solver_order": 3, "lower_order_final": False}),
        (LMS(order=4), "LMSDiscreteScheduler", {}),
        (DPM2(), "KDPM2DiscreteScheduler", {}),
        (Heun(), "HeunDiscreteScheduler", {}),
        ("3m as published", "DPMSolverMultistepScheduler", {"solver_order": 3, "lower_order_final": False}),
    ],
)
def test_equals_diffusers(sampler: Sampler | str, scheduler: str, options: dict[str, Any]) -> None:
    """diffusers' schedulers show the network the same x at every call, to 1e-4 in float32.

    Their 3M is compared with the published formula, which ours mends: see `test_dpmpp_3m_is_corrected`.
    """
    diffusers = pytest.importorskip("diffusers")
    theirs = getattr(diffusers, scheduler)(beta_start=1e-4, beta_end=0.02, **options)
    theirs.set_timesteps(12)
    sde, network = TabulatedVP.linear(), Net()
    x = first = torch.randn(4, 3)
    seen: list[Tensor] = []
    by_sigma = scheduler.startswith(("LMS", "KDPM2", "Heun"))  # these step x / alpha
    x = x / float(sde.alpha(as_time((float(theirs.timesteps[0]) + 1) / 1000))) if by_sigma else x
    for i, index in enumerate(theirs.timesteps):
        given = theirs.scale_model_input(x, index)
        seen.append(given)
        if i + 1 == len(theirs.timesteps):  # what follows is their step to sigma = 0
            break
        t = as_time((float(index) + 1) / 1000)
        x = theirs.step(network(given, (sde.rho(t).log() / 4).float().expand(4)), index, x).prev_sample
    times = torch.as_tensor((theirs.timesteps.double().unique().flip(0) + 1) / 1000)
    if scheduler.startswith("KDPM2"):
        times = torch.cat([times[:1], times[2::2]])[: len(times) // 2 + 1]
    ours: list[Tensor] = []
    model = ScoreModel(network, sde, "eps")

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        ours.append(x)
        return model(x, t)

    with torch.no_grad():
        if isinstance(sampler, str):
            third_order(sde, denoise, first.double(), times, 1.0)
        else:
            path(sampler, sde, denoise, first, times)
    assert len(ours) >= 9
    same([v.float() for v in ours[1:]], seen[1 : len(ours)], 1e-4)
