"""One-step methods by their coefficients: the loop is the step, and no noise is drawn if its weight is 0."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sdekit.integrators import Coefficients, OneStep
from sdekit.processes import SDE, VP
from sdekit.sampling import SeedNoise, karras


@dataclass(frozen=True, kw_only=True)
class Mixed(OneStep):
    """x_s = s x_t + t x_0 + fresh z."""

    fresh: float = 0.0

    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        return s, t, self.fresh * torch.ones_like(t)


@pytest.mark.parametrize("fresh", [0.0, 0.5])
def test_the_loop_is_the_formula(fresh: float) -> None:
    """Over a whole grid and step by step, x_t is left as it was, and each step has its own draw."""
    sde, times, start = VP(), karras(VP(), 6), torch.randn(4, 3, dtype=torch.float64)
    kept = start.clone()
    path = Mixed(fresh=fresh).trajectory(sde, lambda x, t: x.sin(), start, times, SeedNoise(range(4), (3,)))
    draws, same, x = SeedNoise(range(4), (3,)), SeedNoise(range(4), (3,)), start
    for (t, s), x_s in zip(pairwise(times), path, strict=True):
        z = draws() if fresh else 0.0
        by_step = Mixed(fresh=fresh).step(sde, lambda x, t: x.sin(), x, t, s, same)
        x = s * x + t * x.sin() + fresh * z
        assert torch.allclose(x_s, x, rtol=1e-12, atol=1e-12) and torch.allclose(by_step, x, rtol=1e-12, atol=1e-12)
    assert torch.equal(start, kept)


def test_no_noise_is_drawn_where_its_weight_is_zero() -> None:
    """The noise is not even called."""
    sde, times = VP(), karras(VP(), 3)
    (*_, x) = Mixed().trajectory(sde, lambda x, t: x, torch.ones(1, 2), times, None)  # type: ignore[arg-type]
    assert x.isfinite().all()
