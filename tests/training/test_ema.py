"""The weight average: against a loop in NumPy, and against the length that EDM2 defines."""

import numpy as np
import pytest
import torch

from sdekit.training.ema import EMA, gamma


@pytest.mark.parametrize("length", [0.05, 0.1, 0.2])
def test_against_a_naive_loop(length: float) -> None:
    """average_k = beta_k average_{k-1} + (1 - beta_k) weights_k with beta_k = (1 - 1/k)^(gamma + 1)."""
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((40, 3)), rng.standard_normal((40, 2, 2))]
    ema = EMA([torch.zeros(3, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)], length)
    averages = [np.zeros(3), np.zeros((2, 2))]
    for k in range(1, 41):
        ema.update([torch.from_numpy(w[k - 1]) for w in weights], k)
        beta = (1 - 1 / k) ** (gamma(length) + 1)
        averages = [beta * a + (1 - beta) * w[k - 1] for a, w in zip(averages, weights, strict=True)]
    for found, expected in zip(ema.average, averages, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.2])
def test_relative_length(length: float) -> None:
    """The steps that the average weighs have a standard deviation of `length` times the steps so far."""
    ema, n = EMA([torch.zeros(2, dtype=torch.float64)], length), 4000
    for k in range(1, n + 1):
        ema.update([torch.tensor([k, k * k], dtype=torch.float64)], k)
    mean, square = ema.average[0].tolist()
    assert abs((square - mean**2) ** 0.5 / n - length) < 1e-3


@pytest.mark.parametrize(("length", "expected"), [(0.05, 16.97), (0.1, 6.94)])
def test_published_gammas(length: float, expected: float) -> None:
    """Karras et al. 2024 print gamma = 16.97 for 5% and 6.94 for 10%; the profile's closed-form deviation agrees."""
    g = gamma(length)
    assert g == pytest.approx(expected, abs=0.005)
    assert (g + 1) ** 0.5 / (g + 2) / (g + 3) ** 0.5 == pytest.approx(length, rel=1e-9)


def test_first_step_and_length_zero_take_the_weights() -> None:
    """After step 1, and at every step where the length is 0, the average is the weights, not the start."""
    start, new = torch.full((3,), 9.0), torch.tensor([1.0, -2.0, 0.5])
    ema, none = EMA([start], 0.1), EMA([start], 0.0)
    ema.update([new], 1)
    none.update([new], 100)
    assert torch.equal(ema.average[0], new) and torch.equal(none.average[0], new)
    assert torch.equal(start, torch.full((3,), 9.0))
