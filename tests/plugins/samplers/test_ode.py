"""The probability-flow ODE: the exact flow map at the default tolerance, and every method of torchdiffeq."""

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.processes import SDE, VP, RectifiedFlow, as_time, broadcast
from sdekit.sampling import sample
from sdekit_plugins.samplers.ode import ADAMS, ADAPTIVE, FIXED, ODE

Array = NDArray[np.float64]
PROCESSES = {name: registry.build("sde", name) for name in registry.component_names("sde")}
each_process = pytest.mark.parametrize("process", PROCESSES)

ANGLES = np.arange(8) / 8 * 2 * math.pi
RING = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1) * math.sqrt(2)
MIXTURES: dict[str, tuple[Array, float]] = {
    "ring": (RING, 0.1),
    "d=16": (np.random.default_rng(0).normal(size=(5, 16)), 0.3),
}


def exact_flow(means: Array, std: float, z: Array, start: float, end: float) -> Array:
    """z (B, d) carried from u = start to u = end along dz/du = cos(u) eps - sin(u) x_0, z = cos(u) x_0 + sin(u) eps.

    The flow of x / sqrt(alpha^2 + sigma^2) in u = atan(rho) is the same for every process, and finite where alpha is 0.
    In numpy and by DOP853 to 1e-11, with nothing of sdekit's in it.
    """

    def field(u: float, flat: Array) -> Array:
        z, cos, sin = flat.reshape(-1, means.shape[1]), math.cos(u), math.sin(u)
        variance = cos**2 * std**2 + sin**2
        apart = z[:, None] - cos * means
        logits = -0.5 * (apart**2).sum(-1) / variance
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        x0 = np.einsum("bk,bkd->bd", weights, means + cos * std**2 / variance * apart)
        return (cos * (z - cos * x0) / sin - sin * x0).ravel()

    out: Array = solve_ivp(field, (start, end), z.ravel(), method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    return out.reshape(z.shape)


@cache
def reference(mixture: str, process: str) -> tuple[Tensor, Tensor]:
    """x at t_max and the exact solution at t_min, both (24, d)."""
    (means, std), sde = MIXTURES[mixture], PROCESSES[process]
    ends = [as_time(t) for t in (sde.t_max, sde.t_min)]
    norms = [float((sde.alpha(t) ** 2 + sde.sigma(t) ** 2).sqrt()) for t in ends]
    angles = [math.atan2(float(sde.sigma(t)), float(sde.alpha(t))) for t in ends]
    x = GaussianMixture(torch.from_numpy(means), std).sample(24, 5, sde, ends[0])
    return x, torch.from_numpy(exact_flow(means, std, x.numpy() / norms[0], angles[0], angles[1]) * norms[1])


def at_t_min(sde: SDE, mixture: GaussianMixture, x: Tensor, sampler: ODE, **arguments: Any) -> Tensor:
    """x at t_min, before the final denoising."""
    arguments = {"dtype": torch.float64, **arguments}
    result = sample(sde, mixture.denoiser(sde), sampler, shape=x.shape[1:], x=x, trajectory=True, **arguments)
    assert result.trajectory is not None
    return result.trajectory[-2].double()


@each_process
@pytest.mark.parametrize("mixture", MIXTURES)
def test_default_tolerance(mixture: str, process: str) -> None:
    """The default ode is within 1e-3 RMSE of the exact flow map, on every process, in float32 as in float64."""
    means, std = MIXTURES[mixture]
    x, exact = reference(mixture, process)
    for dtype in (torch.float64, torch.float32):
        error = (
            at_t_min(PROCESSES[process], GaussianMixture(torch.from_numpy(means), std), x, ODE(), dtype=dtype) - exact
        )
        assert error.square().mean().sqrt() < 1e-3


@each_process
def test_one_gaussian(process: str) -> None:
    """Of one Gaussian the flow map is alpha_s mu + sqrt(var_s / var_t) (x - alpha_t mu): to 3e-4 or 1e-8."""
    sde, std = PROCESSES[process], 0.4
    mu = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    mixture, (t, s) = GaussianMixture(mu[None], std), map(as_time, (sde.t_max, sde.t_min))
    x = mixture.sample(10, 2, sde, t)
    variance = [sde.alpha(u) ** 2 * std**2 + sde.sigma(u) ** 2 for u in (t, s)]
    exact = sde.alpha(s) * mu + (variance[1] / variance[0]).sqrt() * (x - sde.alpha(t) * mu)
    for sampler, bound in ((ODE(), 3e-4), (ODE(rtol=1e-9, atol=1e-9), 1e-8), (ODE(method="rk4"), 1e-4)):
        steps = 2 if sampler.method == "dopri5" else 60
        assert (at_t_min(sde, mixture, x, sampler, steps=steps) - exact).abs().max() < bound


@pytest.mark.parametrize("error_norm", ["sample", "batch"])
@pytest.mark.parametrize("method", [*FIXED, *ADAMS, *ADAPTIVE])
def test_every_method_solves(method: str, error_norm: str) -> None:
    """All methods reach the exact flow map: fixed-step ones with 120 steps equal in r, adaptive ones at 1e-5."""
    sde, (means, std) = RectifiedFlow(), MIXTURES["d=16"]
    x, exact = reference("d=16", "rectified-flow")
    sampler = ODE(method=method, rtol=1e-5, atol=1e-5, error_norm=error_norm)  # type: ignore[arg-type]
    arguments = {} if method in ADAPTIVE else {"steps": 121, "grid": "uniform"}
    result = at_t_min(sde, GaussianMixture(torch.from_numpy(means), std), x[:2], sampler, **arguments)
    bound = {"euler": 0.1, "midpoint": 1e-2, "heun2": 1e-2, "fehlberg2": 1e-2}.get(method, 1e-3)
    assert (result - exact[:2]).square().mean().sqrt() < bound


def test_its_own_adaptive_is_torchdiffeqs() -> None:
    """With one sample, both error norms solve the same problem, by different step control: they agree."""
    sde, (means, std) = VP(), MIXTURES["ring"]
    x, _ = reference("ring", "vp")
    own, theirs = (
        at_t_min(sde, GaussianMixture(torch.from_numpy(means), std), x[:1], ODE(rtol=1e-8, atol=1e-8, error_norm=norm))  # type: ignore[arg-type]
        for norm in ("sample", "batch")
    )
    assert not torch.equal(own, theirs) and torch.allclose(own, theirs, rtol=0, atol=1e-6)


@each_process
@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dopri8", "fehlberg2", "adaptive_heun"])
def test_torchdiffeq_stays_within_the_process(method: str, process: str) -> None:
    """No step goes past the end, where there is no noise level, and the result is exact."""
    sde, (means, std) = PROCESSES[process], MIXTURES["ring"]
    mixture, (x, exact) = GaussianMixture(torch.from_numpy(means), std), reference("ring", process)
    sampler = ODE(method=method, rtol=1e-5, atol=1e-5, error_norm="batch")
    seen: list[float] = []

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        seen.append(float(t))
        return mixture.denoiser(sde)(x, t)

    for steps in (2, 6):
        path = sample(sde, denoise, sampler, shape=(2,), x=x[:4], dtype=torch.float64, steps=steps, trajectory=True)
        assert path.trajectory is not None
        assert (path.trajectory[-2].double() - exact[:4]).square().mean().sqrt() < 1e-3
    assert sde.t_min <= min(seen) and max(seen) <= sde.t_max


def test_a_condition_with_every_method() -> None:
    """y stays with its samples, though some arrive earlier and some methods take one at a time."""
    sde, mixture = VP(), GaussianMixture(torch.from_numpy(RING), 0.1)
    y = torch.tensor([0, 3, 5])
    for method in (*FIXED, *ADAMS, *ADAPTIVE):
        steps = 2 if method in ADAPTIVE else 40
        sampler = ODE(method=method, rtol=1e-3, atol=1e-3)
        x = sample(sde, mixture.denoiser(sde), sampler, shape=(2,), n=3, y=y, steps=steps).x
        assert ((x - torch.from_numpy(RING)[y]).norm(dim=1) < 0.6).all(), method


def test_calls_are_those_of_one_sample() -> None:
    """nfe is the largest number of calls of one sample, also if each is solved alone; tight tolerances need more."""
    sde, mixture = VP(), GaussianMixture(torch.from_numpy(RING), 0.1)

    def nfe(tolerance: float, n: int, method: str = "dopri8") -> int:
        sampler = ODE(method=method, rtol=tolerance, atol=tolerance)
        return sample(sde, mixture.denoiser(sde), sampler, shape=(2,), n=n).nfe

    assert nfe(1e-3, 4) == max(nfe(1e-3, k) for k in range(1, 5)) < 200
    assert nfe(1e-6, 4, "dopri5") > nfe(1e-3, 4, "dopri5")


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_a_tolerance_out_of_reach(method: str) -> None:
    """If the tolerance cannot be met, the error names method and tolerance, and gives advice."""

    def breaks(x: Tensor, t: Tensor) -> Tensor:
        return torch.where(broadcast(t, x) < 0.5, 1e30 * torch.sin(1e5 * x).sign(), 0 * x)

    with pytest.raises(SdekitError, match=rf"{method} cannot meet rtol=1e-05, atol=1e-05 .*aise the tolerances"):
        sample(RectifiedFlow(), breaks, ODE(method=method), shape=(2,), n=2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "scipy_solver"])
@pytest.mark.parametrize("error_norm", ["sample", "batch"])
def test_a_result_that_is_not_finite_ends_the_run_at_once(bad: float, method: str, error_norm: Any) -> None:
    """The first call with NaN or infinity is the last one, and the message names the call, the time and the seed."""
    calls = 0

    def breaks(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x + bad

    ode = ODE(method=method, error_norm=error_norm)
    message = r"call 1 of the denoiser, at t = 1: its result is not finite .*has seed 7\): check the training"
    with pytest.raises(SdekitError, match=message):
        sample(RectifiedFlow(), breaks, ode, shape=(2,), seeds=[7, 8])
    assert calls == 1


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dopri8", "scipy_solver"])
@pytest.mark.parametrize("error_norm", ["sample", "batch"])
def test_a_rough_field_is_given_up(method: str, error_norm: Any) -> None:
    """After max_calls the error names the limit, the time, the step size and the options to change."""
    calls = 0

    def rough(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.sin(1e4 * x).sign()

    ode = ODE(method=method, rtol=1e-10, atol=1e-10, error_norm=error_norm, max_calls=400)
    message = rf"{method} cannot meet rtol=1e-10, .* in max_calls=400: at t = (0\.\d+|1) its step .* is down to \d.*e-"
    with pytest.raises(SdekitError, match=message + ".*Raise the tolerances or max_calls"):
        sample(RectifiedFlow(), rough, ode, shape=(2,), n=2, dtype=torch.float64)
    assert calls == 400


def test_an_assertion_of_the_network_is_its_own() -> None:
    """Only torchdiffeq's is a matter of tolerances."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("mine")

    for method in ("dopri5", "dopri8", "rk4"):
        with pytest.raises(AssertionError, match="mine"):
            sample(VP(), denoise, ODE(method=method), shape=(2,), n=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rk5"}, "ode: no method 'rk5': choose one of euler, midpoint, "),
        ({"rtol": 0.0}, "ode: tolerances must be positive, got rtol=0.0"),
        ({"atol": -1.0}, "atol=-1.0"),
        ({"rtol": math.nan}, "rtol=nan"),
        ({"max_calls": 0}, "ode: max_calls must be at least 1, got 0"),
        ({"error_norm": "max"}, "ode: error_norm must be 'sample' or 'batch', got 'max'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """An invalid option raises an error when the sampler is built."""
    with pytest.raises(InputError, match=message):
        ODE(**options)


def test_declared_traits() -> None:
    """order and calls are those of the method, None if not fixed; adaptive methods need no grid."""
    for method, (order, calls) in FIXED.items():
        sampler = ODE(method=method)
        assert (sampler.order, sampler.calls_per_step, sampler.default_steps) == (order, calls, 50)
    for method in ADAPTIVE:
        sampler = ODE(method=method)
        assert (sampler.order, sampler.calls_per_step, sampler.default_steps) == (None, None, 2)
