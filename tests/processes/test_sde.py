"""Laws that every registered process obeys: its inverse, its derived coefficients, its transitions."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from sdekit import registry
from sdekit.processes import SDE, as_time, broadcast

PROCESSES = registry.component_names("sde")
each_process = pytest.mark.parametrize("sde", [registry.build("sde", name) for name in PROCESSES], ids=PROCESSES)


def inner_times(sde: SDE, n: int = 37) -> Tensor:
    """n times strictly inside the process's range, where alpha and sigma are positive."""
    return torch.linspace(sde.t_min, sde.t_max, n + 2, dtype=torch.float64)[1:-1]


@each_process
def test_time_inverts_rho(sde: SDE) -> None:
    """time(rho(t)) = t up to rounding, at both ends too; time(inf) is t_max, or inf if alpha never vanishes."""
    t = torch.linspace(sde.t_min, sde.t_max, 20_001, dtype=torch.float64)
    assert (sde.time(sde.rho(t)) - t).abs().max() < 2e-15 * sde.t_max
    at_inf = float(sde.time(torch.tensor(math.inf)))
    assert at_inf == math.inf or (at_inf == sde.t_max and sde.alpha(as_time(sde.t_max)) < 1e-15)


@each_process
def test_rho_of_time(sde: SDE) -> None:
    """rho(time(rho)) = rho: the inverse loses no digits, at small and at large noise levels."""
    low, high = sde.rho(as_time(sde.t_min)), sde.rho(as_time(sde.t_max)).clamp(max=1e6)
    rho = torch.logspace(float(low.log10()), float(high.log10()), 1001, dtype=torch.float64)[1:-1]
    assert (sde.rho(sde.time(rho)) / rho - 1).abs().max() < 1e-9


@each_process
def test_scales_are_in_range(sde: SDE) -> None:
    """alpha decreases in [0, 1], sigma is positive, and rho increases strictly; all are float64 with the shape of t."""
    t = torch.linspace(sde.t_min, sde.t_max, 10_001, dtype=torch.float64)
    alpha, sigma, rho = sde.alpha(t), sde.sigma(t), sde.rho(t)
    assert alpha.shape == sigma.shape == rho.shape == t.shape
    assert alpha.dtype == sigma.dtype == rho.dtype == torch.float64
    assert 0 <= alpha.min() and alpha.max() <= 1 and (alpha.diff() <= 0).all()
    assert sigma.min() > 0 and sigma.isfinite().all()
    assert (rho.diff() > 0).all()


@each_process
def test_drift_and_diffusion_move_the_moments(sde: SDE) -> None:
    """d alpha / dt = f alpha and d sigma^2 / dt = 2 f sigma^2 + g^2, by central differences."""
    # halfway between the knots of a table, where the scales are smooth
    t = (inner_times(sde) * 1000).floor() / 1000 + 5e-4 if sde.t_max == 1 else inner_times(sde)
    h = 1e-5 * (sde.t_max - sde.t_min)

    def slope(values: list[Tensor]) -> Tensor:
        before2, before, after, after2 = values
        return (8 * (after - before) - (after2 - before2)) / (12 * h)

    around = [t - 2 * h, t - h, t + h, t + 2 * h]
    f, g2 = sde.f(t), sde.g(t) ** 2
    d_alpha, d_variance = slope([sde.alpha(u) for u in around]), slope([sde.sigma(u) ** 2 for u in around])
    assert (f * sde.alpha(t) - d_alpha).abs().max() < 1e-9 * d_alpha.abs().max().clamp(min=1.0)
    expected = 2 * f * sde.sigma(t) ** 2 + g2
    assert (expected - d_variance).abs().max() < 1e-8 * (f.abs() * sde.sigma(t) ** 2 + g2).max().clamp(min=1.0)


@each_process
def test_coefficients_are_plain(sde: SDE) -> None:
    """f and g are float64, have no gradient, and can be computed while gradients are disabled."""
    with torch.no_grad():
        for value in (sde.f(torch.tensor(0.5)), sde.g(torch.tensor(0.5))):
            assert value.shape == () and value.dtype == torch.float64 and not value.requires_grad


@each_process
def test_numbers_are_times(sde: SDE) -> None:
    """A Python number, a float32 and a float64 tensor of the same value give the same coefficients."""
    for method in (sde.alpha, sde.sigma, sde.rho, sde.f, sde.g):
        results = {float(method(t)) for t in (0.5, torch.tensor(0.5), torch.tensor(0.5, dtype=torch.float64))}
        assert len(results) == 1


@each_process
def test_eps_inverts_perturb(sde: SDE) -> None:
    """eps(perturb(x0, t, eps), x0, t) = eps."""
    x0, eps = torch.randn(2, 37, 3, 4, dtype=torch.float64)
    for t in (inner_times(sde), as_time(sde.t_max)):
        assert torch.allclose(sde.eps(sde.perturb(x0, t, eps), x0, t), eps, rtol=0, atol=1e-10)


@each_process
def test_score_is_that_of_the_transition(sde: SDE) -> None:
    """score(x, x0, t) is the gradient of log N(x; alpha x0, sigma^2), by autograd."""
    x0, eps = torch.randn(2, 37, 5, dtype=torch.float64)
    t = inner_times(sde)
    x = sde.perturb(x0, t, eps).requires_grad_()
    transition = Normal(sde.alpha(t)[:, None] * x0, sde.sigma(t)[:, None].expand_as(x0))
    (expected,) = torch.autograd.grad(transition.log_prob(x).sum(), x)
    assert torch.allclose(sde.score(x.detach(), x0, t), expected, rtol=1e-10, atol=1e-10)


@each_process
@pytest.mark.parametrize("shape", [(), (3,), (1, 8, 8)])
def test_one_time_or_one_for_each_sample(sde: SDE, shape: tuple[int, ...]) -> None:
    """t () and t (B,) of equal values give equal results, and t (B,) applies sample by sample."""
    x0, eps, x = torch.randn(3, 4, *shape, dtype=torch.float64)
    times = inner_times(sde, 4)
    for method, args in (
        (sde.perturb, lambda t: (x0, t, eps)),
        (sde.eps, lambda t: (x, x0, t)),
        (sde.score, lambda t: (x, x0, t)),
    ):
        for t in times:
            assert torch.equal(method(*args(t)), method(*args(t.expand(4))))
        rows = [method(*args(t))[i] for i, t in enumerate(times)]
        assert torch.equal(method(*args(times)), torch.stack(rows))


@each_process
def test_float32_stays(sde: SDE) -> None:
    """Results are float32 for float32 samples, for t () and t (B,)."""
    x0, eps = torch.randn(2, 4, 3)
    for t in (torch.tensor(0.5), torch.full((4,), 0.5)):
        for result in (sde.perturb(x0, t, eps), sde.eps(x0, eps, t), sde.score(x0, eps, t)):
            assert result.dtype == torch.float32 and result.shape == (4, 3)


@each_process
def test_prior(sde: SDE) -> None:
    """The prior is N(0, sigma(t_max)^2); its log-density equals that of torch.distributions, in the dtype of x."""
    sigma, noise = float(sde.sigma(as_time(sde.t_max))), torch.randn(5, 2, 3, dtype=torch.float64)
    x = sde.prior(noise)
    assert torch.allclose(x, sigma * noise, rtol=1e-15, atol=0)
    expected = Normal(0.0, torch.tensor(sigma, dtype=torch.float64)).log_prob(x).sum((1, 2))
    assert torch.allclose(sde.prior_log_prob(x), expected, rtol=1e-13, atol=0)
    assert sde.prior_log_prob(x.float()).dtype == sde.prior(noise.float()).dtype == torch.float32


def test_coefficients_under_inference_mode() -> None:
    """f and g, which are derivatives, can be computed in inference mode, as euler-maruyama does."""
    sde = registry.build("sde", "vp")
    with torch.inference_mode():
        f, g = sde.f(as_time(0.5)), sde.g(torch.tensor([0.5, 0.7]))
    assert float(f) == float(sde.f(as_time(0.5))) and g.isfinite().all()


def test_like() -> None:
    """A coefficient () stays as it is, and (B,) becomes (B, 1, 1) in the dtype of x."""
    one, many, x = torch.tensor(2.0, dtype=torch.float64), torch.arange(3.0, dtype=torch.float64), torch.zeros(3, 4, 5)
    assert broadcast(one, x) is one
    assert broadcast(many, x).shape == (3, 1, 1) and broadcast(many, x).dtype == torch.float32


def test_a_process_needs_its_three_functions() -> None:
    """A process must define alpha, sigma and time."""
    with pytest.raises(TypeError, match=r"alpha.*sigma.*time"):
        SDE()  # type: ignore[abstract]
