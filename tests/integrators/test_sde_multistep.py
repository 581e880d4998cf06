"""Exponential integrators of the reverse SDE: the cases in which they are exact."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.integrators import PowerNoiseScaling, exponential_step, sde_multistep_coefficients
from sdekit.processes import EDM, VP, as_time, diffuse, renoise
from sdekit_plugins.samplers.er_sde import FadingNoise

PROCESSES = {name: registry.build("sde", name) for name in registry.component_names("sde")}
each_process = pytest.mark.parametrize("process", PROCESSES)
SCALINGS = [PowerNoiseScaling(0.0), PowerNoiseScaling(0.6), PowerNoiseScaling(1.0), FadingNoise()]
each_scaling = pytest.mark.parametrize("scaling", SCALINGS, ids=["flow", "0.6", "sde", "fading"])


@each_process
@each_scaling
@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_step_keeps_the_marginals(process: str, scaling: Any, order: int) -> None:
    """For a constant x_0, alpha_s = a alpha_t + sum w; for noise alone, sigma_s^2 = a^2 sigma_t^2 + c^2."""
    sde = PROCESSES[process]
    times = registry.build("grid", "karras")(sde, 9)
    steps = sde_multistep_coefficients(sde, times, scaling, order, corrector=order)
    for i, (t, s) in enumerate(zip(times, times[1:], strict=False)):
        assert math.isclose(
            float(steps.x_weights[i]) ** 2 * sde.sigma(t) ** 2 + float(steps.noise_weights[i]) ** 2,
            sde.sigma(s) ** 2,
            rel_tol=1e-9,
        )
        for weights in (steps.weights[i], steps.corrector[i]):  # type: ignore[index]
            assert math.isclose(float(steps.x_weights[i]) * sde.alpha(t) + weights.sum(), sde.alpha(s), rel_tol=1e-9)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_a_line_in_log_rho_is_integrated_exactly(eta: float, implicit: bool) -> None:
    """phi_s int l d(1/phi) = l_s + 1/c - (rho_s / rho_t)^c (l_t + 1/c) for l = log rho, c = 1 + eta^2."""
    sde, c = EDM(), 1 + eta**2
    rho = registry.build("grid", "karras")(sde, 8)
    steps = sde_multistep_coefficients(sde, rho, PowerNoiseScaling(eta), 2, corrector=2)
    for i in range(1, 8):
        w = steps.corrector[i] if implicit else steps.weights[i]  # type: ignore[index]
        nodes = rho[[i + 1, i]] if implicit else rho[[i, i - 1]]
        t, s = rho[i], rho[i + 1]
        exact = s.log() + 1 / c - (s / t) ** c * (t.log() + 1 / c)
        assert math.isclose(w[0] * nodes[0].log() + w[1] * nodes[1].log(), exact, rel_tol=1e-8, abs_tol=1e-8)


@each_process
def test_one_step_is_renoise(process: str) -> None:
    """With eta = 1 the exponential step is the ancestral one, and with 0 DDIM's; on the first step from t_max too."""
    sde = PROCESSES[process]
    x, x0, z = torch.randn(3, 4, 2, dtype=torch.float64)
    for t, s in ((as_time(sde.t_max), sde.time(as_time(0.5))), (sde.time(as_time(0.5)), as_time(sde.t_min))):
        for eta in (0.0, 1.0):
            a, b, c = exponential_step(sde, t, s, PowerNoiseScaling(eta))
            step = a * x + b * x0 + c * z
            assert step.isfinite().all()
            assert torch.allclose(step, renoise(sde, x, x0, t, s, z, eta), rtol=1e-9, atol=1e-9)


@each_scaling
def test_phi(scaling: Any) -> None:
    """`inverse` inverts phi; `decay` is the ratio of psi = phi / rho, and 0 from rho = inf if there is new noise."""
    rho = torch.logspace(-3, 3, 40, dtype=torch.float64)
    assert torch.allclose(scaling.inverse(scaling.phi(rho)), rho, rtol=1e-9, atol=0)
    psi = scaling.phi(rho) / rho
    assert torch.allclose(scaling.decay(rho[:-1], rho[1:]), psi[:-1] / psi[1:], rtol=1e-9, atol=0)
    from_infinity = scaling.decay(rho[:1], torch.full((1,), math.inf, dtype=torch.float64))
    assert from_infinity == (1 if scaling == PowerNoiseScaling(0.0) else 0)


@each_process
def test_diffuse(process: str) -> None:
    """p_s goes to p_t: alpha and the variance of the noise are those of t; at s = t nothing happens."""
    sde = PROCESSES[process]
    t, s = sde.time(torch.tensor([3.0, 0.4], dtype=torch.float64))
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    scale, noise = diffuse(sde, one, s, t, zero), diffuse(sde, zero, s, t, one)
    assert torch.allclose(scale * sde.alpha(s), sde.alpha(t), rtol=1e-12, atol=0)
    assert torch.allclose((scale * sde.sigma(s)) ** 2 + noise**2, sde.sigma(t) ** 2, rtol=1e-12, atol=0)
    assert torch.equal(diffuse(sde, one, s, s, one), one)
    up = diffuse(sde, one, s, as_time(sde.t_max), one)
    assert up.isfinite().all()


def test_noise_is_drawn_only_where_it_is_used() -> None:
    """A run without noise draws none, a run with noise draws once per step, with the times of the step."""
    calls: list[tuple[float, float]] = []

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        assert t is not None and s is not None
        calls.append((float(t), float(s)))
        return torch.zeros(2, 3)

    times = registry.build("grid", "log-snr")(VP(), 4)
    for eta, count in ((0.0, 0), (1.0, 4)):
        list(
            sde_multistep_coefficients(VP(), times, PowerNoiseScaling(eta), 2).run(
                lambda x, t: x, torch.zeros(2, 3), times, noise
            )
        )
        assert len(calls) == count
    assert calls == list(zip(times.tolist(), times[1:].tolist(), strict=False))
