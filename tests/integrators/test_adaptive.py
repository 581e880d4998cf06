"""Adaptive Runge-Kutta with a step size for each sample, against scipy and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from sdekit.errors import SdekitError
from sdekit.integrators import METHODS, solve_adaptive

RATES = torch.tensor([0.5, 3.0, 12.0, 40.0], dtype=torch.float64)
each_method = pytest.mark.parametrize("method", METHODS)


def at(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def spiral(r: Tensor, y: Tensor) -> Tensor:
    """A non-linear, time-dependent field on (B, 2), the same for every sample."""
    r = r.expand(len(y))[:, None]
    return torch.stack([-y[:, 1], y[:, 0]], 1) * (1 + r) - 0.3 * (2 * y).sin() + r.cos()


@each_method
@pytest.mark.parametrize(("start", "end"), [(0.0, 3.0), (3.0, 0.5)], ids=["up", "down"])
def test_error_is_that_of_scipy(method: str, start: float, end: float) -> None:
    """At one tolerance the error is within 3 times that of scipy's own method of this name, against DOP853."""
    y = torch.tensor([[1.0, 0.5], [-0.3, 0.8]], dtype=torch.float64)
    tight, loose = {"rtol": 1e-12, "atol": 1e-13}, {"rtol": 1e-6, "atol": 1e-8}
    result = solve_adaptive(spiral, y, at(start), at(end), method=method, **loose)
    for i in range(2):

        def field(r: float, z: np.ndarray) -> np.ndarray:
            return spiral(at(r), torch.from_numpy(z)[None])[0].numpy()

        exact = solve_ivp(field, (start, end), y[i].numpy(), method="DOP853", **tight).y[:, -1]
        scipys = solve_ivp(field, (start, end), y[i].numpy(), method=METHODS[method].__name__, **loose).y[:, -1]
        ours, theirs = np.abs(result[i].numpy() - exact).max(), np.abs(scipys - exact).max()
        assert 0 < ours < 3 * theirs < 1e-3


@each_method
def test_error_follows_the_tolerance(method: str) -> None:
    """On y' = -y^2 cos r the error stays below 50 tolerances and falls with them."""
    y = torch.tensor([[0.5], [-0.25]], dtype=torch.float64)
    exact = 1 / (1 / y + math.sin(5.0))
    errors = []
    for tolerance in (1e-3, 1e-5, 1e-7, 1e-9):
        result = solve_adaptive(
            lambda r, y: -y.square() * r.cos()[:, None],
            y,
            at(0.0),
            at(5.0),
            method=method,
            rtol=tolerance,
            atol=tolerance,
        )
        errors.append(float((result - exact).abs().max()))
        assert errors[-1] < 50 * tolerance
    assert all(a > 5 * b for a, b in zip(errors, errors[1:], strict=False))


@each_method
def test_a_sample_does_not_see_its_batch(method: str) -> None:
    """Beside samples forty times as stiff, in any order and alone, a sample's result is the same to the last bits."""

    def decay(rates: Tensor) -> object:
        return lambda r, y: -rates[:, None] * (y - r.sin()[:, None])

    y = torch.randn(4, 3, dtype=torch.float64)
    arguments = {"method": method, "rtol": 1e-6, "atol": 1e-6}
    whole = solve_adaptive(decay(RATES), y, at(0.0), at(2.0), **arguments)
    for i in range(4):
        alone = solve_adaptive(decay(RATES[i : i + 1]), y[i : i + 1], at(0.0), at(2.0), **arguments)
        assert torch.allclose(alone[0], whole[i], rtol=1e-13, atol=1e-14)
    flipped = solve_adaptive(decay(RATES.flip(0)), y.flip(0), at(0.0), at(2.0), **arguments)
    assert torch.allclose(flipped.flip(0), whole, rtol=1e-13, atol=1e-14)


@each_method
def test_the_field_sees_the_whole_batch(method: str) -> None:
    """Every call has all samples and one r for each, between start and end: a condition may be bound to the batch."""

    def field(r: Tensor, y: Tensor) -> Tensor:
        assert r.shape == (4,) and y.shape == (4, 1) and r.dtype == torch.float64
        assert ((0 <= r) & (r <= 1)).all()
        return -RATES[:, None] * y

    y = torch.ones(4, 1, dtype=torch.float64)
    result = solve_adaptive(field, y, at(0.0), at(1.0), method=method, rtol=1e-7, atol=1e-9)
    assert torch.allclose(result[:, 0], (-RATES).exp(), rtol=1e-4, atol=1e-7)


def test_float32_and_shapes() -> None:
    """float32 stays float32 for any shape, and the input is not changed."""
    y = torch.randn(3, 1, 2, 2)
    before = y.clone()
    result = solve_adaptive(lambda r, y: -y, y, at(1.0), at(0.0), method="dopri5", rtol=1e-5, atol=1e-5)
    assert result.dtype == torch.float32 and torch.equal(y, before)
    assert torch.allclose(result, y * math.e, rtol=1e-4)


@each_method
def test_the_field_is_not_evaluated_beyond_the_end(method: str) -> None:
    """A field that is NaN outside the interval does no harm, even if y is large compared with its slope."""

    def field(r: Tensor, y: Tensor) -> Tensor:
        inside = (r >= 1) & (r <= 1.001)
        return torch.where(inside.expand(len(y))[:, None], -1e-3 * y, math.nan)

    y = torch.tensor([[100.0], [0.0]], dtype=torch.float64)
    found = solve_adaptive(field, y, at(1.001), at(1.0), method=method, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, y * math.exp(1e-6), rtol=1e-9, atol=1e-12)


def test_an_empty_interval() -> None:
    """From r to r is no step."""
    y = torch.randn(2, 2, dtype=torch.float64)
    assert torch.equal(solve_adaptive(spiral, y, at(1.0), at(1.0), method="dopri5", rtol=1e-5, atol=1e-5), y)


@each_method
def test_a_pole_is_an_error(method: str) -> None:
    """y' = y^2 reaches infinity at r = 1/2: the error names the place and gives advice."""
    y = torch.tensor([[0.1], [2.0]], dtype=torch.float64)
    with pytest.raises(
        SdekitError, match=rf"{method} cannot meet rtol=1e-05, atol=1e-06 at r = 0\.(5|49999).*Raise the tol"
    ):
        solve_adaptive(lambda r, y: y.square(), y, at(0.0), at(1.0), method=method, rtol=1e-5, atol=1e-6)


@each_method
def test_nan_is_an_error(method: str) -> None:
    """A field that turns NaN ends in the same error, at once."""
    calls = []

    def field(r: Tensor, y: Tensor) -> Tensor:
        calls.append(r)
        return torch.where((r < 0.5)[:, None], y, math.nan)

    with pytest.raises(SdekitError, match=r"at r = 0\.[45]"):
        solve_adaptive(
            field, torch.ones(2, 1, dtype=torch.float64), at(0.0), at(1.0), method=method, rtol=1e-5, atol=1e-5
        )
    assert len(calls) < 1000


@each_method
def test_finished_samples_are_removed(method: str) -> None:
    """With the field of any rows, samples that are finished are evaluated no more, and the result is the same."""
    sizes = []

    def field_of(rows: Tensor) -> object:
        rates = RATES[rows]

        def field(r: Tensor, y: Tensor) -> Tensor:
            sizes.append(len(y))
            return -rates[:, None] * (y - r.sin()[:, None])

        return field

    y = torch.randn(4, 3, dtype=torch.float64)
    arguments = {"method": method, "rtol": 1e-6, "atol": 1e-6}
    field = field_of(torch.arange(4))
    whole = solve_adaptive(field, y, at(0.0), at(2.0), **arguments)
    assert set(sizes) == {4}
    parts = solve_adaptive(field, y, at(0.0), at(2.0), field_of=field_of, **arguments)
    assert sizes[-1] == 1 and torch.allclose(parts, whole, rtol=1e-13, atol=1e-14)
