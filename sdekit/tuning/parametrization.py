"""The unknowns of tuning: few numbers that stand for the times of a grid and the weights of earlier evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.processes import LARGEST_RHO, SDE, as_time

KNOTS = 12  # unknowns for the times, and for each column of weights; with more calls they are interpolated
POINTS = 2  # earlier evaluations that each call is blended with


@dataclass(frozen=True)
class Parametrization:
    """What theta (count,) means; theta = 0 is the grid as it was, and no weights.

    Times: the logarithms of the steps in log rho, from `top` downwards, so that any theta is a grid, and each one moves
    the levels from its own on. Weights: of `Blend`, a row a call. Both are linear between at most KNOTS knots along the
    calls (weights: for each stage of a step); the weights of the last call stand alone.
    """

    top: float
    steps: Tensor
    of_times: Tensor
    of_rows: Tensor
    points: int

    @classmethod
    def of(cls, sde: SDE, times: Tensor, calls: int, weights: bool) -> Parametrization:
        """Around a grid, times (n + 1,), for a sampler of `calls` calls a step."""
        u = sde.rho(times[1:]).clamp(min=1e-6).log()
        rho = float(sde.rho(as_time(sde.t_max)))
        top = (
            math.log(rho)
            if rho < LARGEST_RHO
            else max(math.log(LARGEST_RHO), float(2 * u[0] - u[-1]) if len(u) > 1 else 0)
        )
        steps = -torch.cat([torch.tensor([top], dtype=torch.float64), u]).diff()
        total = (len(times) - 1) * calls + 1
        rows = torch.zeros(total, 0, dtype=torch.float64)
        for stage in range(calls if weights else 0):  # calls 1 to total - 2: the first knows none, the last has its own
            of_stage = torch.arange(1 + stage, total - 1, calls)
            hats = _hats(len(of_stage), max(KNOTS // calls, 2))
            placed = torch.zeros(total, hats.shape[1], dtype=torch.float64)
            placed[of_stage] = hats
            rows = torch.cat([rows, placed], 1)
        if weights:
            last = torch.zeros(total, 1, dtype=torch.float64)
            last[-1] = 1
            rows = torch.cat([rows, last], 1)
        return cls(top, steps, _hats(len(steps), KNOTS), rows, POINTS)

    @property
    def count(self) -> int:
        """How many unknowns there are."""
        return self.of_times.shape[1] + self.of_rows.shape[1] * self.points

    def read(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """(levels of rho after t_max (n,), weights (calls, points))."""
        in_times, in_rows = theta.split([self.of_times.shape[1], self.of_rows.shape[1] * self.points])
        levels = (self.top - (self.steps * (self.of_times @ in_times).exp()).cumsum(0)).exp()
        return levels, self.of_rows @ in_rows.view(-1, self.points)


def _hats(n: int, knots: int) -> Tensor:
    """(n, min(n, knots)): values at n places of the functions that are linear between knots, each 1 at its own."""
    k = min(n, knots)
    if k == n:
        return torch.eye(n, dtype=torch.float64)
    place = torch.linspace(0, k - 1, n, dtype=torch.float64)
    return (1 - (place[:, None] - torch.arange(k)).abs()).clamp(min=0)
