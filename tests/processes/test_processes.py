"""Each process against the formulas of its paper."""

import dataclasses
import math
from collections.abc import Callable
from decimal import Context, Decimal

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.errors import InputError
from sdekit.processes import EDM, SDE, VE, VP, Cosine, RectifiedFlow, SubVP, TabulatedVP, as_time

Function = Callable[[Tensor], Tensor]


def grid(sde: SDE) -> Tensor:
    """Times over the whole range without its ends, because alpha may be 0 there."""
    return torch.linspace(sde.t_min, sde.t_max, 1001, dtype=torch.float64)[1:-1]


def beta(t: Tensor) -> Tensor:
    """Song et al. 2021, appendix C, with the defaults."""
    return 0.1 + t * 19.9


def integral_of_beta(t: Tensor) -> Tensor:
    return 0.1 * t + 0.5 * t**2 * 19.9


def zero(t: Tensor) -> Tensor:
    return torch.zeros_like(t)


RATE = math.log(50 / 0.01)
THETA = math.pi / 2 / 1.008  # d theta / dt of the cosine schedule
# process, f(t), g(t)^2, alpha(t), sigma(t)
PUBLISHED: dict[str, tuple[SDE, Function, Function, Function, Function]] = {
    "VP: Song et al. 2021, eq. 11 and 33": (
        VP(),
        lambda t: -beta(t) / 2,
        beta,
        lambda t: (-integral_of_beta(t) / 2).exp(),
        lambda t: (1 - (-integral_of_beta(t)).exp()).sqrt(),
    ),
    "SubVP: Song et al. 2021, eq. 12 and 29": (
        SubVP(),
        lambda t: -beta(t) / 2,
        lambda t: -beta(t) * torch.expm1(-2 * integral_of_beta(t)),
        lambda t: (-integral_of_beta(t) / 2).exp(),
        lambda t: 1 - (-integral_of_beta(t)).exp(),
    ),
    "VE: Song et al. 2021, eq. 9 and 30": (
        VE(),
        zero,
        lambda t: 2 * RATE * (0.01 * (50 / 0.01) ** t) ** 2,
        torch.ones_like,
        lambda t: 0.01 * (50 / 0.01) ** t,
    ),
    "EDM: Karras et al. 2022, Table 1": (EDM(), zero, lambda t: 2 * t, torch.ones_like, lambda t: t),
    "RectifiedFlow: Liu et al. 2023": (
        RectifiedFlow(),
        lambda t: -1 / (1 - t),
        lambda t: 2 * t / (1 - t),
        lambda t: 1 - t,
        lambda t: t,
    ),
    "Cosine: Nichol & Dhariwal 2021, eq. 17": (
        Cosine(),
        lambda t: -THETA * (THETA * (t + 0.008)).tan(),
        lambda t: 2 * THETA * (THETA * (t + 0.008)).tan(),
        lambda t: (THETA * (t + 0.008)).cos() / math.cos(THETA * 0.008),
        lambda t: (1 - (THETA * (t + 0.008)).cos() ** 2 / math.cos(THETA * 0.008) ** 2).sqrt(),
    ),
}
each_published = pytest.mark.parametrize("case", PUBLISHED.values(), ids=PUBLISHED)


@each_published
def test_coefficients_are_the_published_ones(case: tuple[SDE, Function, Function, Function, Function]) -> None:
    """f and g, derived from alpha and sigma by autograd, are the paper's to 1e-12."""
    sde, f, g2, _, _ = case
    t = grid(sde)
    assert torch.allclose(sde.f(t), f(t), rtol=1e-12, atol=0)
    assert torch.allclose(sde.g(t) ** 2, g2(t), rtol=1e-12, atol=0)


@each_published
def test_kernel_is_the_published_one(case: tuple[SDE, Function, Function, Function, Function]) -> None:
    """alpha and sigma are the paper's mean and standard deviation of x_t given x_0."""
    sde, _, _, alpha, sigma = case
    t = grid(sde)
    assert torch.allclose(sde.alpha(t), alpha(t), rtol=1e-13, atol=1e-15)
    assert torch.allclose(sde.sigma(t) ** 2, sigma(t) ** 2, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("sde", [VP(), Cosine(), TabulatedVP.linear(), TabulatedVP.cosine()], ids=repr)
def test_variance_is_preserved(sde: SDE) -> None:
    """alpha^2 + sigma^2 = 1, and with it g^2 = -2 f."""
    t = grid(sde)
    assert ((sde.alpha(t) ** 2 + sde.sigma(t) ** 2) - 1).abs().max() < 2e-15
    assert torch.allclose(sde.g(t) ** 2, -2 * sde.f(t), rtol=1e-11, atol=0)


def test_small_noise_keeps_its_digits() -> None:
    """sigma^2 near t = 0 is accurate to 1e-11, compared with 40 digits and with a form without cancellation."""
    t = 1e-6
    vp = float(1 - (-(Decimal("0.1") * Decimal(t) + Decimal("9.95") * Decimal(t) ** 2)).exp(Context(prec=40)))
    tangent, delta = math.tan(THETA * 0.008), THETA * t
    cosine = math.sin(delta) ** 2 * (1 - tangent**2) + tangent * math.sin(2 * delta)
    for sde, variance in ((VP(), vp), (SubVP(), vp**2), (Cosine(), cosine)):
        assert abs(float(sde.sigma(as_time(t)) ** 2) / variance - 1) < 1e-11


def test_constant_beta() -> None:
    """With beta_min = beta_max, an Ornstein-Uhlenbeck process, `time` is still the inverse of `rho`."""
    sde, t = VP(beta_min=3.0, beta_max=3.0), torch.linspace(1e-5, 1, 1001, dtype=torch.float64)
    assert torch.allclose(sde.alpha(t), (-1.5 * t).exp(), rtol=1e-14, atol=0)
    assert (sde.time(sde.rho(t)) - t).abs().max() < 1e-15


def test_time_at_the_ends_of_rho() -> None:
    """time(0) and time(inf) of the variance-preserving processes are 0 and infinite, never NaN."""
    ends = torch.tensor([0.0, math.inf], dtype=torch.float64)
    for sde in (VP(), SubVP(), VP(beta_min=3.0, beta_max=3.0), TabulatedVP.linear()):
        assert sde.time(ends).tolist() == [0.0, math.inf]
    for flow in (RectifiedFlow(), Cosine(), Cosine(s=0.0)):
        assert flow.time(ends).tolist() == [0.0, 1.0]


def test_linear_table() -> None:
    """At knot i, alpha^2 is cumprod(1 - beta)_i of Ho et al. 2020, section 4, and rho is finite everywhere."""
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    sde, knots = TabulatedVP.linear(), torch.arange(1, 1001, dtype=torch.float64) / 1000
    assert torch.allclose(sde.alpha(knots) ** 2, (1 - betas).cumprod(0), rtol=1e-12, atol=0)
    assert torch.allclose(torch.tensor(sde.betas, dtype=torch.float64), betas, rtol=1e-15, atol=0)
    assert (sde.t_min, sde.t_max) == (1e-3, 1.0)


@pytest.mark.parametrize("n", [10, 1000, 4000])
def test_cosine_table(n: int) -> None:
    """The betas are Nichol & Dhariwal 2021's, eq. 17 and the clip at 0.999, computed here one by one."""

    def alpha_bar(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - alpha_bar((i + 1) / n) / alpha_bar(i / n), 0.999) for i in range(n)]
    sde = TabulatedVP.cosine(n=n)
    assert max(abs(a - b) for a, b in zip(sde.betas, betas, strict=True)) < 1e-13
    product = 1.0
    for i, b in enumerate(betas):
        product *= 1 - b
        assert abs(float(sde.alpha(as_time((i + 1) / n))) ** 2 / product - 1) < 1e-10


def test_table_is_log_linear_between_knots() -> None:
    """Between knots f is constant, N/2 log(1 - beta_i); at a knot it is that of the interval below."""
    sde = TabulatedVP((0.1, 0.2, 0.4))
    inside = torch.tensor([0.4, 0.5, 2 / 3, 0.7, 0.9, 1.0], dtype=torch.float64)
    expected = 1.5 * torch.log1p(-torch.tensor([0.2, 0.2, 0.2, 0.4, 0.4, 0.4], dtype=torch.float64))
    assert torch.allclose(sde.f(inside), expected, rtol=1e-13, atol=0)
    middle = float(sde.alpha(as_time(0.5)))
    assert math.isclose(middle, math.sqrt(math.sqrt(0.9 * (0.9 * 0.8))), rel_tol=1e-14)


def test_zero_terminal_snr() -> None:
    """alpha is 0 at t = 1 and linear in the last interval; first alpha and all ratios are Lin et al. 2024's."""
    sde = TabulatedVP.scaled_linear()
    zero, knots = sde.with_zero_terminal_snr(), torch.arange(1, 1001, dtype=torch.float64) / 1000
    alpha = sde.alpha(knots)
    expected = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    assert torch.allclose(zero.alpha(knots), expected, rtol=0, atol=1e-14) and zero.betas[-1] == 1
    last = torch.tensor([0.9990, 0.9995, 0.99975, 1.0], dtype=torch.float64)
    ratio = zero.alpha(last) / zero.alpha(last[:1])
    assert torch.allclose(ratio, torch.tensor([1, 0.5, 0.25, 0], dtype=torch.float64), atol=1e-12)
    assert bool((zero.rho(last).diff() > 0).all()) and zero.rho(as_time(1.0)) == math.inf
    t = torch.linspace(1e-3, 1, 5001, dtype=torch.float64)
    assert torch.allclose(zero.time(zero.rho(t)), t, rtol=0, atol=1e-12) and zero.time(as_time(math.inf)) == 1
    assert torch.isfinite(zero.f(last[:3])).all() and torch.isfinite(zero.g(last[:3])).all()


def test_scaled_linear_table() -> None:
    """The roots of the betas increase linearly."""
    roots = torch.tensor(TabulatedVP.scaled_linear(n=5).betas, dtype=torch.float64).sqrt()
    assert torch.allclose(roots, torch.linspace(0.00085**0.5, 0.012**0.5, 5, dtype=torch.float64))
    with pytest.raises(InputError, match="needs positive betas, got -1"):
        TabulatedVP.scaled_linear(beta_min=-1.0)


BAD: list[tuple[Callable[[], SDE], str]] = [
    (lambda: VP(beta_min=0.0), "VP: needs 0 < beta_min <= beta_max, got beta_min=0.0"),
    (lambda: VP(beta_min=2.0, beta_max=1.0), "beta_max=1.0"),
    (lambda: VP(beta_min=math.nan), "beta_min=nan"),
    (lambda: VP(t_min=-1e-3), "VP: needs 1e-09 <= t_min < t_max, got t_min=-0.001"),
    (lambda: VP(t_min=0.0), "VP: needs 1e-09 <= t_min < t_max, got t_min=0.0"),
    (lambda: VP(t_min=1e-300), "t_min=1e-300"),
    (lambda: VP(t_max=math.inf), "t_max=inf"),
    (lambda: VP(beta_max=math.inf), "beta_max=inf"),
    (lambda: VP(t_min=1.0), "t_min=1.0, t_max=1.0"),
    (lambda: SubVP(beta_min=-1.0), "SubVP: needs 0 < beta_min"),
    (lambda: SubVP(t_min=2.0), "SubVP: needs 1e-09 <= t_min"),
    (lambda: VE(sigma_min=0.0), "VE: needs 0 < sigma_min < sigma_max"),
    (lambda: VE(sigma_min=2.0, sigma_max=1.0), "sigma_max=1.0"),
    (lambda: VE(t_max=0.0), "VE: needs 0 <= t_min < t_max"),
    (lambda: Cosine(s=-0.1), "Cosine: needs 0 <= s < 1 and t_max <= 1, got s=-0.1"),
    (lambda: Cosine(t_max=1.5), "t_max=1.5"),
    (lambda: EDM(sigma_min=-1.0), "EDM: needs 0 < sigma_min < sigma_max, got sigma_min=-1.0"),
    (lambda: EDM(sigma_min=5.0, sigma_max=5.0), "sigma_max=5.0"),
    (lambda: RectifiedFlow(t_max=1.1), "RectifiedFlow: needs t_max <= 1, got t_max=1.1"),
    (lambda: RectifiedFlow(t_min=1.0), "RectifiedFlow: needs 1e-09 <= t_min < t_max"),
    (lambda: VE(sigma_max=math.inf), "sigma_max=inf"),
    (lambda: RectifiedFlow(t_min=0.0), "RectifiedFlow: needs 1e-09 <= t_min < t_max, got t_min=0.0"),
    (lambda: Cosine(t_min=0.0), "Cosine: needs 1e-09 <= t_min < t_max, got t_min=0.0"),
    (lambda: TabulatedVP.linear(n=-1), "TabulatedVP: needs at least two betas"),
    (lambda: TabulatedVP.cosine(n=0), "TabulatedVP: needs at least two betas"),
    (lambda: TabulatedVP((0.5,)), "TabulatedVP: needs at least two betas"),
    (lambda: TabulatedVP((1.0, 0.5)), "each between 0 and 1"),
    (lambda: TabulatedVP((0.0, 0.5)), "each between 0 and 1"),
]


@pytest.mark.parametrize(("build", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments(build: Callable[[], SDE], message: str) -> None:
    """Impossible options raise an error with the process, the values and the condition."""
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        build()


@pytest.mark.parametrize("name", registry.component_names("sde"))
def test_is_a_value(name: str) -> None:
    """A process is frozen and hashable, equals another one with the same options, and prints its options."""
    sde, again = registry.build("sde", name), registry.build("sde", name)
    sde.alpha(as_time(0.5))  # what it caches is no part of its value
    assert sde == again and hash(sde) == hash(again) and {sde: 1}[again] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        sde.t_max = 2.0
    assert repr(sde).startswith(type(sde).__name__ + "(")


@pytest.mark.parametrize("name", registry.component_names("sde"))
def test_options_reach_the_process(name: str) -> None:
    """Every option of a registered process can be set by name, and another value creates another process."""
    given = registry.complete_options("sde", name, {})
    assert given, f"{name} shows no options"
    for option, default in given.items():
        other = default // 2 if isinstance(default, int) else default * 0.5 if default else 1e-3
        assert registry.build("sde", name, **{option: other}) != registry.build("sde", name), option
