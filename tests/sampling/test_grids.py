"""Every registered grid, on every registered process."""

import math
from typing import Any

import pytest
import torch

from sdekit import registry
from sdekit.errors import InputError
from sdekit.processes import EDM, VE, VP, RectifiedFlow, as_time
from sdekit.sampling import cosine, karras, log_snr, quadratic, shift, spaced_knots, sqrt_log_snr, uniform


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
@pytest.mark.parametrize("process", registry.component_names("sde"))
@pytest.mark.parametrize("grid", registry.component_names("grid"))
def test_contract(grid: str, process: str, n: int) -> None:
    """(n + 1,) strictly decreasing float64 on the CPU, exactly from t_max to t_min; `auto` and `shift` end above it."""
    sde = registry.build("sde", process)
    times = registry.build("grid", grid)(sde, n)
    assert times.shape == (n + 1,) and times.dtype == torch.float64 and times.device.type == "cpu"
    assert times[0] == sde.t_max and (times[-1] >= sde.t_min if grid in ("auto", "shift") else times[-1] == sde.t_min)
    assert (times.diff() < 0).all()


@pytest.mark.parametrize("p", [1.0, 3.0, 7.0])
def test_karras_closed_form(p: float) -> None:
    """On EDM it is Karras et al. 2022, eq. 5, with N = n + 1; the option p reaches it through the registry."""
    n, (low, high) = 17, (0.002, 80.0)
    expected = [(high ** (1 / p) + i / n * (low ** (1 / p) - high ** (1 / p))) ** p for i in range(n + 1)]
    for times in (karras(EDM(), n, p=p), registry.build("grid", "karras", p=p)(EDM(), n)):
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


def test_quadratic_closed_form() -> None:
    """The roots of the times fall in equal steps (Song, Meng & Ermon 2021, appendix D.3)."""
    times = quadratic(RectifiedFlow(t_min=0.25), 5)
    assert torch.allclose(times.sqrt(), torch.linspace(1, 0.5, 6, dtype=torch.float64), rtol=1e-14, atol=0)


def test_sqrt_log_snr_closed_form() -> None:
    """Steps in log rho are as 1, 3, 5, ..., 2n - 1 from the noise on."""
    sde = VP()
    step = sde.rho(sqrt_log_snr(sde, 8)).log().diff()
    odd = torch.arange(1, 16, 2, dtype=torch.float64)
    assert torch.allclose(step / step[0], odd, rtol=1e-8, atol=0)


def test_cosine_closed_form() -> None:
    """arctan rho falls in equal steps; where alpha^2 + sigma^2 = 1 these are of the angle whose cosine is alpha."""
    angle = VP().alpha(cosine(VP(), 10)).acos()
    assert torch.allclose(angle.diff(), angle.diff().mean().expand(10), rtol=1e-6, atol=0)
    middle = math.tan((math.pi / 2 + math.atan(1 / 3)) / 2)  # rho is infinite at t = 1 and 1/3 at t = 0.25
    assert math.isclose(float(cosine(RectifiedFlow(t_min=0.25), 2)[1]), middle / (1 + middle), rel_tol=1e-12)


@pytest.mark.parametrize("p", [0.0, -1.0, math.nan, math.inf])
def test_karras_wants_a_power(p: float) -> None:
    """A root of nothing is no grid."""
    with pytest.raises(InputError, match="karras: p must be positive and finite"):
        karras(EDM(), 5, p=p)


def test_infinite_rho() -> None:
    """Where rho is infinite at t_max, the interior times are spaced from rho = 1000 down."""
    sde = RectifiedFlow()
    low = float(sde.rho(as_time(sde.t_min)))
    assert math.isclose(float(sde.rho(log_snr(sde, 4)[2])), math.sqrt(1000 * low), rel_tol=1e-9)
    assert math.isclose(float(sde.rho(karras(sde, 2, p=1.0)[1])), (1000 + low) / 2, rel_tol=1e-9)


def test_shift_closed_form() -> None:
    """On the rectified flow it is s u / (1 + (s - 1) u) for even u, from 1 to 1/N or to the given last u."""
    u = torch.linspace(1, 0.1, 10, dtype=torch.float64)
    expected = 3 * u / (1 + 2 * u)
    assert torch.allclose(shift(RectifiedFlow(), 9, shift=3.0), expected, rtol=0, atol=1e-14)
    assert torch.allclose(shift(RectifiedFlow(), 9, shift=3.0, last=0.1), expected, rtol=0, atol=1e-14)
    rho = VP().rho(shift(VP(), 9, shift=2.0))
    steps = (rho / (2 + rho)).diff()  # u of rho / shift
    assert torch.allclose(steps, steps.mean().expand(9), rtol=1e-9, atol=0)
    for bad in ({"shift": 0.0}, {"shift": math.inf}, {"last": 1.0}):
        with pytest.raises(InputError, match="needs shift > 0 and 0 < last < 1"):
            shift(VP(), 5, **bad)


@pytest.mark.parametrize(
    ("rule", "index"),
    [
        ({"spacing": "leading", "offset": 1}, [751, 501, 251, 1]),
        ({"spacing": "trailing"}, [999, 749, 499, 249]),
        ({"spacing": "linspace"}, [999, 666, 333, 0]),
    ],
)
def test_spaced_knots(rule: dict[str, Any], index: list[int]) -> None:
    """Index i of the table is t = (i + 1) / 1000."""
    assert torch.equal(spaced_knots(4, **rule), (torch.tensor(index, dtype=torch.float64) + 1) / 1000)


def test_spaced_knots_out_of_range() -> None:
    """A table has no more times than knots, and no index beyond its end."""
    with pytest.raises(InputError, match="grids of 1 to 10 times, got 11"):
        spaced_knots(11, knots=10)
    with pytest.raises(InputError, match="need the index 10 in a table of 10 knots"):
        spaced_knots(10, knots=10, offset=1)
