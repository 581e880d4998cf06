"""Parameters of tuning: a few numbers theta for the times of a grid and the weights of earlier evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.processes import LARGEST_RHO, SDE, as_time

KNOTS = 12
"""Largest number of parameters (knots) for the times, and for each column of weights."""
POINTS = 2
"""Number of earlier evaluations with which each evaluation is blended."""


@dataclass(frozen=True)
class Parametrization:
    """Linear maps from theta (count,) to log step sizes and weights; theta = 0 is the initial grid without weights.

    The times are given by the logarithms of the step sizes in log rho, downwards from `top`. Any theta gives a
    decreasing grid, and a parameter moves only the levels from its own step on. The weights are the gains of `Blend`,
    one row for each evaluation. Times and weights are interpolated linearly between at most KNOTS knots along the
    evaluations; for the weights, each stage of a step has its own knots. The last evaluation has weights of its own.

    Arguments:
        top: log rho at t_max.
        steps: Steps of the initial grid in log rho, (n,).
        times_basis: Matrix (n, k) from parameters to logarithms of step sizes.
        weights_basis: Matrix (evaluations, m) from parameters to weights.
        points: Number of earlier evaluations.
    """

    top: float
    steps: Tensor
    times_basis: Tensor
    weights_basis: Tensor
    points: int

    @classmethod
    def of(cls, sde: SDE, times: Tensor, calls: int, weights: bool) -> Parametrization:
        """Parametrize a grid, times (n + 1,), for a sampler with `calls` evaluations a step."""
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
        for stage in range(calls if weights else 0):  # evaluations 1 to total - 2; the first has none before it
            indices = torch.arange(1 + stage, total - 1, calls)
            hats = _hats(len(indices), max(KNOTS // calls, 2))
            columns = torch.zeros(total, hats.shape[1], dtype=torch.float64)
            columns[indices] = hats
            rows = torch.cat([rows, columns], 1)
        if weights:
            last = torch.zeros(total, 1, dtype=torch.float64)
            last[-1] = 1
            rows = torch.cat([rows, last], 1)
        return cls(top, steps, _hats(len(steps), KNOTS), rows, POINTS)

    @property
    def count(self) -> int:
        """Number of parameters."""
        return self.times_basis.shape[1] + self.weights_basis.shape[1] * self.points

    def read(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels of rho after t_max, (n,), and the weights, (evaluations, points)."""
        of_times, of_weights = theta.split([self.times_basis.shape[1], self.weights_basis.shape[1] * self.points])
        levels = (self.top - (self.steps * (self.times_basis @ of_times).exp()).cumsum(0)).exp()
        return levels, self.weights_basis @ of_weights.view(-1, self.points)


def _hats(n: int, knots: int) -> Tensor:
    """Return the values (n, min(n, knots)) at n places of piecewise linear functions.

    Each function is 1 at its own knot and 0 at the others.
    """
    k = min(n, knots)
    if k == n:
        return torch.eye(n, dtype=torch.float64)
    places = torch.linspace(0, k - 1, n, dtype=torch.float64)
    return (1 - (places[:, None] - torch.arange(k)).abs()).clamp(min=0)
