"""Probabilities of bins from densities."""

import math

import numpy as np
import pytest
import torch

from sdekit import VP, GaussianMixture, InputError
from sdekit.data import Units
from sdekit.likelihood import (
    Dequantization,
    bin_width,
    bits_per_dimension,
    check_bins,
    log_density_in_data_units,
)

SDE = VP()
MIXTURE = GaussianMixture(torch.tensor([[0.2, -0.4]], dtype=torch.float64), 0.1)
WIDTH = torch.tensor(0.05, dtype=torch.float64)


def log_density(x: torch.Tensor, at: torch.Tensor | None) -> torch.Tensor:
    """The exact log-density of the mixture."""
    return MIXTURE.log_prob(x) if at is None else MIXTURE.log_prob(x, SDE, at)


def log_mass(x: torch.Tensor) -> torch.Tensor:
    """The exact log-probability of the bins around x."""
    z = (x - MIXTURE.means) / 0.1
    half = WIDTH / 0.2
    return (torch.special.ndtr(z + half) - torch.special.ndtr(z - half)).log().sum(1)


def test_uniform_dequantization_bounds_the_mass_of_a_bin() -> None:
    """The mean over many draws lies below the exact mass, and more draws per item come closer to it."""
    x0 = torch.tensor([[0.25, -0.35]], dtype=torch.float64).expand(2000, 2)
    gaps = [
        float((log_mass(x0) - Dequantization(samples=k).log_prob(SDE, log_density, x0, WIDTH, range(2000))).mean())
        for k in (1, 16)
    ]
    assert -1e-3 < gaps[1] < 0.3 * gaps[0] + 1e-3 and gaps[0] < 0.2


def test_truncated_normal_dequantization_suits_values_without_noise() -> None:
    """If the data are exactly the centres of the bins, the bound is the log-probability of each value."""
    values = torch.tensor([[-0.05], [0.0], [0.05]], dtype=torch.float64)
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    narrow = GaussianMixture(values, 1e-5, weights)

    def density(x: torch.Tensor, at: torch.Tensor | None) -> torch.Tensor:
        return narrow.log_prob(x) if at is None else narrow.log_prob(x, SDE, at)

    x0 = values.repeat_interleave(500, 0)
    bound = Dequantization(method="truncated-normal").log_prob(SDE, density, x0, WIDTH, range(len(x0)))
    assert torch.allclose(bound.view(3, -1).mean(1), weights.log(), atol=0.01)


def test_a_bin_without_noise_is_the_density_times_the_width() -> None:
    """ "none" takes the density at the value."""
    x0 = torch.tensor([[0.2, -0.4]], dtype=torch.float64)
    result = Dequantization(method="none").log_prob(SDE, log_density, x0, WIDTH, [0])
    assert torch.allclose(result, MIXTURE.log_prob(x0) + 2 * math.log(0.05))


def test_scaling_of_the_data_is_derived() -> None:
    """Pixels 0 to 255 in [-1, 1] have bins of width 1 / 127.5, columns of a table one width each."""
    pixels = Units(shift=127.5, scale=127.5)
    assert bin_width(pixels, (1, 2, 2)) == pytest.approx(1 / 127.5)
    columns = Units(shift=(0.0, 0.0), scale=(2.0, 4.0))
    assert bin_width(columns, (2,)).tolist() == [0.5, 0.25]
    converted = log_density_in_data_units(torch.zeros(1, dtype=torch.float64), columns, np.ones((1, 2)))
    assert float(converted) == pytest.approx(-math.log(8))
    assert float(bits_per_dimension(torch.tensor(-math.log(256.0) * 4), 4)) == pytest.approx(8)


def test_continuous_data_have_no_bits() -> None:
    """Values between the bins are refused with an example."""
    check_bins(np.array([0, 255], dtype=np.uint8))
    check_bins(np.array([0.0, 0.25]), 0.25)
    with pytest.raises(InputError, match=r"0\.3"):
        check_bins(np.array([0.0, 1.0, 0.3]))


def test_bad_options_are_refused() -> None:
    """Unknown methods and counts are named."""
    with pytest.raises(InputError, match="truncated-normal"):
        Dequantization(method="gaussian")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="samples=0"):
        Dequantization(samples=0)
