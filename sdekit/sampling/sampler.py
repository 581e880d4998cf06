"""Base class of all samplers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from torch import Tensor

from sdekit.arguments import check_count, check_fields
from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser

from .noise import Noise

Grid = Callable[[SDE, int], Tensor]
"""`grid(sde, n) -> (n + 1,)` times, decreasing, float64, on the CPU."""

_RENAMED = {"calls": "calls_per_step", "alone": "requires_single_sample"}


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """Base class of samplers: a method that takes x from t_max to t_min along a time grid.

    A subclass is a frozen dataclass that defines `step`, or `trajectory` if it uses earlier steps. Its fields are the
    options of the method. The properties below are its traits. A subclass overrides a trait by a class attribute
    (`order = 2`), a field with a default (`order: int = 3`) or a property.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for old, new in _RENAMED.items():
            if old in vars(cls):
                raise TypeError(f"{cls.__name__}: `{old}` is now `{new}` (see CHANGELOG.md)")

    def __post_init__(self) -> None:
        """Check the types of the options. A subclass with its own `__post_init__` calls this one first."""
        check_fields(self)

    @property
    def order(self) -> int | None:
        """Order of convergence, weak for a stochastic method; None if the method has none."""
        return None

    @property
    def stochastic(self) -> bool:
        """Whether the method draws noise."""
        return False

    @property
    def calls_per_step(self) -> int | None:
        """Calls of the denoiser in one step; None if the number is not fixed."""
        return 1

    @property
    def requires_single_sample(self) -> bool:
        """Whether samples influence each other within a batch, so that `sample` must draw them one at a time."""
        return False

    @property
    def requires_finite_rho(self) -> bool:
        """Whether the method divides by alpha, so that a run must start where rho = sigma / alpha is finite.

        If alpha is below 1 / `LARGEST_RHO` at the first time of the grid, as in the cosine process and the rectified
        flow, `sample` replaces this time by the time of the noise level `LARGEST_RHO` (1000).
        """
        return False

    @property
    def default_steps(self) -> int:
        """Number of grid times if the user sets neither `steps` nor `nfe`."""
        return 50

    @property
    def default_grid(self) -> str:
        """Registered name of the grid if the user chooses none."""
        return "karras"

    @property
    def grid_options(self) -> dict[str, Any]:
        """Options of `default_grid` that follow from the options of the sampler."""
        return {}

    @property
    def default_noise(self) -> Literal["seed", "brownian"]:
        """Source of noise if the user chooses none: numbered draws of each seed, or one Brownian path per seed."""
        return "seed"

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        """Take one step from time t to an earlier time s.

        Arguments:
            sde: Process of the model.
            denoise: Denoiser, `denoise(x, t) -> E[x_0 | x_t = x]`.
            x: State x_t, (B, *).
            t: Current time, 0-dim float64.
            s: Next time, 0-dim float64, s < t.
            noise: Source of noise: `noise(t, s)` is (B, *) standard normal.
        Returns:
            State x_s, (B, *).
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither step nor trajectory")

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield the state at each of times[1:].

        Only a method that uses earlier steps, or that prepares the coefficients of a whole grid, overrides this
        function.

        Arguments:
            sde: Process of the model.
            denoise: Denoiser, `denoise(x, t) -> E[x_0 | x_t = x]`.
            x: State at times[0], (B, *).
            times: Grid, (n + 1,), decreasing, float64, on the CPU.
            noise: Source of noise: `noise(t, s)` is (B, *) standard normal.
        Yields:
            State at the next time, (B, *).
        """
        for t, s in pairwise(times):
            x = self.step(sde, denoise, x, t, s, noise)
            yield x

    def evaluations(self, steps: int, cost: int = 1) -> int | None:
        """Count the network evaluations of a run, the final denoising included.

        Arguments:
            steps: Number of grid times, at least 1.
            cost: Network evaluations of one denoising, more than 1 with some guidances.
        Returns:
            ((steps - 1) calls_per_step + 1) cost, or None if `calls_per_step` is None.
        """
        return None if self.calls_per_step is None else ((steps - 1) * self.calls_per_step + 1) * cost

    def steps_for(self, nfe: int, cost: int = 1) -> int:
        """Return the largest number of grid times for which a run makes at most `nfe` network evaluations.

        Arguments:
            nfe: Largest number of network evaluations, the final denoising included.
            cost: Network evaluations of one denoising, more than 1 with some guidances.
        Returns:
            Number of grid times, at least 1.
        Raises:
            InputError: If `calls_per_step` is None, or nfe is too small for the final denoising and, for a method of
                several calls per step, one step.
        """
        name, calls = type(self).__name__, self.calls_per_step
        nfe = check_count("nfe", nfe)
        if calls is None:
            raise InputError(
                f"{name} has no fixed number of calls per step, so its run cannot be limited to nfe={nfe}: set steps, "
                "or its tolerance, instead"
            )
        least = cost if calls == 1 else cost * (calls + 1)
        if nfe < least:
            reason = "the final denoising" if calls == 1 else "one step and the final denoising"
            raise InputError(f"nfe must be at least {least} for {name} ({reason}), got {nfe}")
        return (nfe // cost - 1) // calls + 1

    def build_default_grid(self) -> Grid:
        """Build the grid of this sampler: `default_grid` with `grid_options`.

        Returns:
            Function `grid(sde, n) -> (n + 1,)` times.
        """
        from sdekit.registry import build

        grid: Grid = build("grid", self.default_grid, **self.grid_options)
        return grid
