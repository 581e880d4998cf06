"""Coordinates of the probability flow: one Euler step is a DDIM step, for every k and every process."""

import pytest
import torch

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.processes import LARGEST_RHO, SDE, FlowCoordinates, as_time

PROCESSES = registry.component_names("sde")
each_process = pytest.mark.parametrize("sde", [registry.build("sde", name) for name in PROCESSES], ids=PROCESSES)
MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.3], [0.8, -0.6]]), 0.5)


@each_process
@pytest.mark.parametrize("k", [0.0, 0.5, 1.0])
def test_euler_step_is_ddim(sde: SDE, k: float) -> None:
    """y + (r_s - r_t) dy/dr is DDIM's alpha_s x_0 + sigma_s eps (Song, Meng & Ermon 2021, eq. 12), for any k."""
    flow, denoise = FlowCoordinates(sde, k), MIXTURE.denoiser(sde)
    times = torch.linspace(sde.t_max, sde.t_min, 8, dtype=torch.float64)
    if k == 0 and not sde.rho(times[0]) < 1e6:
        times = times[1:]  # there x / alpha is infinite
    for t, s in ((t, s) for t in times for s in times if s < t):
        x = MIXTURE.sample(5, 3, sde, t)
        x0 = denoise(x, t)
        ddim = sde.alpha(s) * x0 + sde.sigma(s) * (x - sde.alpha(t) * x0) / sde.sigma(t)
        y = x / flow.scale(t)
        euler = flow.scale(s) * (y + (flow.r(s) - flow.r(t)) * flow.velocity(x, x0, t))
        lost = 1 if k else max(1.0, 1e-3 * float(sde.rho(t)))  # of the digits, where x / alpha is huge
        assert torch.allclose(euler, ddim, rtol=0, atol=1e-13 * float(x.abs().max() + 1) * lost)


@each_process
@pytest.mark.parametrize("k", [0.0, 0.5, 1.0])
def test_time_inverts_r(sde: SDE, k: float) -> None:
    """time(r(t)) = t, and rounding errors in r never lead outside of the times of the process."""
    flow, t = FlowCoordinates(sde, k), torch.linspace(sde.t_min, sde.t_max, 2001, dtype=torch.float64)
    t = t[flow.r(t).isfinite()]
    assert (flow.time(flow.r(t)) - t).abs().max() < 1e-11 * sde.t_max
    r = flow.r(t)
    near = flow.time(torch.cat([r * (1 - 1e-12), r * (1 + 1e-15)]).clamp(max=1 / k if k else 1e300))
    assert (near >= sde.t_min).all() and (near <= sde.t_max).all()


@each_process
def test_r_increases_to_at_most_one(sde: SDE) -> None:
    """With k = 1, r = rho / (1 + rho) is at most 1 and finite at t_max, and scale = alpha + sigma is positive."""
    flow, t = FlowCoordinates(sde), torch.linspace(sde.t_min, sde.t_max, 2001, dtype=torch.float64)
    r, rho = flow.r(t), sde.rho(t)
    assert (r.diff() > 0).all() and r[0] > 0 and r[-1] <= 1 and flow.scale(t).min() > 0
    assert torch.allclose(r, 1 / (1 + 1 / rho), rtol=1e-14, atol=0)


@each_process
@pytest.mark.parametrize("k", [0.5, 1.0])
def test_field_is_the_probability_flow(sde: SDE, k: float) -> None:
    """Along dx/dt = f x - g^2/2 score (Song et al. 2021, eq. 13), y = x / scale moves by field dr, to 1e-6."""
    flow, denoise = FlowCoordinates(sde, k), MIXTURE.denoiser(sde)
    h = 1e-6 * (sde.t_max - sde.t_min)
    # 0.0005 off a table's knots
    for t in (as_time(0.2005), as_time(0.5005), as_time(0.9005)):
        x = MIXTURE.sample(6, 1, sde, t)
        dx = sde.f(t) * x - sde.g(t) ** 2 / 2 * MIXTURE.score(x, sde, t)
        d_scale, d_r = (flow.scale(t + h) - flow.scale(t - h)) / (2 * h), (flow.r(t + h) - flow.r(t - h)) / (2 * h)
        dy = dx / flow.scale(t) - x * d_scale / flow.scale(t) ** 2
        field = flow.field(denoise, flow.r(t), x / flow.scale(t))
        assert torch.allclose(field * d_r, dy, rtol=1e-6, atol=1e-6 * float(dy.abs().max()))


@each_process
def test_field_reads_r_by_sample(sde: SDE) -> None:
    """r (B,) gives each sample its own time."""
    flow, denoise = FlowCoordinates(sde), MIXTURE.denoiser(sde)
    r = flow.r(torch.linspace(sde.t_min, sde.t_max, 4, dtype=torch.float64))
    y = torch.randn(4, 2, dtype=torch.float64)
    rows = torch.cat([flow.field(denoise, r[i], y[i : i + 1]) for i in range(4)])
    assert torch.allclose(flow.field(denoise, r, y), rows, rtol=1e-12, atol=1e-12)


@each_process
def test_edm_variables_where_alpha_stays(sde: SDE) -> None:
    """`edm` has k = 0, i.e. x / alpha and rho of Karras et al. 2022, unless rho at t_max exceeds LARGEST_RHO."""
    flow = FlowCoordinates.edm(sde)
    assert flow.k == (0.0 if sde.rho(as_time(sde.t_max)) < LARGEST_RHO else 1.0)
    if flow.k == 0:
        t = as_time(0.5)
        assert flow.scale(t) == sde.alpha(t) and flow.r(t) == sde.rho(t)
