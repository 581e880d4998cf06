"""Every registered grid, on every registered process."""

import math

import pytest
import torch

from sdekit import plugins
from sdekit.grids import karras, log_snr, uniform
from sdekit.processes import EDM, VE, VP, RectifiedFlow
from sdekit.sde import as_time


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
@pytest.mark.parametrize("process", plugins.names("sde"))
@pytest.mark.parametrize("grid", plugins.names("grid"))
def test_contract(grid: str, process: str, n: int) -> None:
    """(n + 1,) strictly decreasing float64 on the CPU, exactly from t_max to t_min."""
    sde = plugins.make("sde", process)
    times = plugins.make("grid", grid)(sde, n)
    assert times.shape == (n + 1,) and times.dtype == torch.float64 and times.device.type == "cpu"
    assert times[0] == sde.t_max and times[-1] == sde.t_min
    assert (times.diff() < 0).all()


@pytest.mark.parametrize("p", [1.0, 3.0, 7.0])
def test_karras_closed_form(p: float) -> None:
    """On EDM it is Karras et al. 2022, eq. 5, with N = n + 1; the option p reaches it through the registry."""
    n, (low, high) = 17, (0.002, 80.0)
    expected = [(high ** (1 / p) + i / n * (low ** (1 / p) - high ** (1 / p))) ** p for i in range(n + 1)]
    for times in (karras(EDM(), n, p=p), plugins.make("grid", "karras", p=p)(EDM(), n)):
        assert torch.allclose(times, torch.tensor(expected, dtype=torch.float64), rtol=1e-13, atol=1e-13)


def test_karras_on_another_process() -> None:
    """On VP, rho^(1/7) falls in equal steps."""
    sde = VP()
    root = sde.rho(karras(sde, 20)) ** (1 / 7)
    assert torch.allclose(root.diff(), root.diff().mean().expand(20), rtol=1e-9, atol=0)


def test_uniform_closed_form() -> None:
    """t_max + i/n (t_min - t_max) (Song et al. 2021)."""
    times = uniform(RectifiedFlow(t_min=0.25), 3)
    assert torch.allclose(times, torch.tensor([1.0, 0.75, 0.5, 0.25], dtype=torch.float64), rtol=1e-15, atol=0)


def test_log_snr_closed_form() -> None:
    """log rho falls in equal steps; on VE that is uniform in t."""
    sde = VP()
    step = sde.rho(log_snr(sde, 20)).log().diff()
    assert torch.allclose(step, step.mean().expand(20), rtol=1e-9, atol=0)
    assert torch.allclose(log_snr(VE(), 50), uniform(VE(), 50), rtol=0, atol=1e-14)


def test_infinite_rho() -> None:
    """Where rho is infinite at t_max, the interior times are spaced from rho = 1000 down."""
    sde = RectifiedFlow()
    low = float(sde.rho(as_time(sde.t_min)))
    assert math.isclose(float(sde.rho(log_snr(sde, 4)[2])), math.sqrt(1000 * low), rel_tol=1e-9)
    assert math.isclose(float(sde.rho(karras(sde, 2, p=1.0)[1])), (1000 + low) / 2, rel_tol=1e-9)
