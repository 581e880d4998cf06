"""Parameters of a grid and of its weights."""

from __future__ import annotations

import pytest
import torch

from sdekit import EDM, SDE, VE, VP, Cosine, RectifiedFlow, registry
from sdekit.tuning.parametrization import KNOTS, Parametrization

PROCESSES: list[SDE] = [VP(), VE(), Cosine(), EDM(), RectifiedFlow()]


@pytest.mark.parametrize("sde", PROCESSES, ids=lambda sde: type(sde).__name__)
@pytest.mark.parametrize("grid", ["auto", "karras", "uniform"])
def test_zero_is_the_grid_and_all_else_is_a_grid(sde: SDE, grid: str) -> None:
    """theta = 0 is the initial grid, any theta is a decreasing grid, and the number of parameters is bounded."""
    for n, calls in ((1, 1), (4, 2), (60, 1)):
        times = registry.build("grid", grid)(sde, n)
        unknowns = Parametrization.of(sde, times, calls, weights=True)
        levels, gains = unknowns.read(torch.zeros(unknowns.count, dtype=torch.float64))
        torch.testing.assert_close(levels, sde.rho(times[1:]).clamp(min=1e-6), rtol=1e-9, atol=0)
        assert gains.shape == (n * calls + 1, 2) and not gains.any() and unknowns.count <= 3 * KNOTS + 2
        theta = torch.randn(unknowns.count, dtype=torch.float64)
        levels, gains = unknowns.read(theta)
        assert (levels.diff() < 0).all() and (levels > 0).all() and not gains[0].any() and gains[1:].all()
