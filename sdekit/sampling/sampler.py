"""Base class of all samplers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

from torch import Tensor

from sdekit.processes import SDE, Denoiser

from .noise import Noise

Grid = Callable[[SDE, int], Tensor]
"""`grid(sde, n) -> (n + 1,)` times, decreasing, float64, on the CPU."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Leads x at t_max to x at t_min; fields are its options, each typed and with a default.

    order: order of convergence in the step, None where it has none. stochastic: whether it draws noise.
    calls: network calls a step, None where only the run tells. alone: whether its batch must be one sample, for that
    sample not to depend on others. default_steps, default_grid, default_noise: used where none is asked.
    """

    order: ClassVar[int | None] = None
    stochastic: ClassVar[bool] = False
    calls_per_step: ClassVar[int | None] = 1
    requires_single_sample: ClassVar[bool] = False
    default_steps: ClassVar[int] = 50
    default_grid: ClassVar[str] = "karras"
    default_noise: ClassVar[Literal["seed", "brownian"]] = "seed"

    @property
    def grid_options(self) -> dict[str, Any]:
        """Options of `default_grid` that follow from the sampler's own."""
        return {}

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        """x_t (B, *) to x_s, s < t both 0-dim; `noise(t, s)` gives (B, *) standard normal."""
        raise NotImplementedError(f"{type(self).__name__} defines neither step nor trajectory")

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        """x at times[1:], one after the other. Only methods that remember earlier steps override it."""
        for t, s in pairwise(times):
            x = self.step(sde, denoise, x, t, s, noise)
            yield x


def default_grid_of(sampler: Sampler) -> Grid:
    """The grid that a sampler takes where none is asked for, with the options that the sampler has for it."""
    from sdekit.registry import build

    grid: Grid = build("grid", sampler.default_grid, **sampler.grid_options)
    return grid
