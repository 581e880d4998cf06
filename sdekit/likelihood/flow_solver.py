"""Solvers of the probability flow: adaptive methods with a step size for each sample, and deterministic samplers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.integrators import METHODS, Field, ToleranceError, solve_adaptive
from sdekit.processes import SDE, Denoiser, FlowCoordinates, broadcast
from sdekit.registry import resolve
from sdekit.sampling import Sampler, start_at_finite_rho

ADAPTIVE = "dopri5"
"""The default solver. Of all solvers in which a sample does not depend on its batch, it is the only one that reached an
error of 1e-5 (d = 2) or 1e-4 nats on all mixtures with d = 2 to 256 within 300 network evaluations, and it needed 157
to 199 (`benchmarks/likelihood.py`)."""
LEAST_TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}
"""Smallest tolerance that a dtype can meet."""
DEFAULT_TOLERANCE = {torch.float32: 1e-5, torch.float64: 3e-6}
RANDOM_TRACE_TOLERANCE = 1e-4
"""Default tolerance of log p with random probes, whose error is larger than that of the solver."""


@dataclass(frozen=True, kw_only=True)
class FlowSolver:
    """How the probability-flow ODE is solved.

    Arguments:
        method: "dopri5" or "bosh3", which control the error of each sample on its own; or a deterministic sampler or
            its registered name, such as "ddim" for DDIM inversion, "heun" or "ode" with any method of torchdiffeq.
        tolerance: Tolerance of dopri5 and bosh3, relative and absolute, for the state in the coordinates of
            `FlowCoordinates`, and in nats for log p. None is 3e-6 in float64 and 1e-5 in float32, and 1e-4 for log p
            with random probes, whose error is then larger.
        steps: Number of grid times of a sampler; None for its default.
    Raises:
        InputError: If the sampler draws noise, or an option does not apply to the method.
    """

    method: Sampler | str = ADAPTIVE
    tolerance: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.method in METHODS:
            if self.steps is not None:
                raise InputError(f"{self.method} chooses its own steps: leave out steps={self.steps}, or set tolerance")
            if self.tolerance is not None and not self.tolerance > 0:
                raise InputError(f"tolerance must be above 0, got {self.tolerance}")
            return
        if self.tolerance is not None:
            raise InputError(f"solver {self.method!r} has no option tolerance: set steps, or the options of `ode`")
        sampler: Sampler = resolve("sampler", self.method)
        if sampler.stochastic:
            raise InputError(
                f"solver {self.method!r} draws noise, so it has no inverse: choose a deterministic one, such as "
                "dopri5, heun or ddim"
            )
        object.__setattr__(self, "method", sampler)

    def coarser(self, dtype: torch.dtype) -> FlowSolver:
        """Return the same solver with ten times the tolerance or half the steps, to estimate its error.

        Arguments:
            dtype: Dtype of the computation, on which the default tolerance depends.
        Returns:
            The solver.
        """
        if isinstance(self.method, Sampler):
            return FlowSolver(method=self.method, steps=max(2, (self.steps or self.method.default_steps) // 2))
        return FlowSolver(method=self.method, tolerance=10 * self.tolerance_in(dtype))

    def tolerance_in(self, dtype: torch.dtype) -> float:
        """Return the tolerance of dopri5 and bosh3 for a dtype."""
        return DEFAULT_TOLERANCE.get(dtype, 1e-5) if self.tolerance is None else self.tolerance

    def check(self, dtype: torch.dtype) -> None:
        """Raise InputError if a dtype cannot meet the tolerance."""
        if not isinstance(self.method, Sampler) and self.tolerance_in(dtype) < LEAST_TOLERANCE.get(dtype, 0.0):
            raise InputError(
                f"tolerance {self.tolerance_in(dtype):g} cannot be met in {str(dtype).removeprefix('torch.')}: use at "
                f"least {LEAST_TOLERANCE[dtype]:g}, or compute in float64"
            )


def solve_flow(
    sde: SDE,
    solver: FlowSolver,
    denoiser_of: Callable[[Tensor | None], Denoiser],
    x: Tensor,
    start: Tensor,
    end: Tensor,
    *,
    d: int | None = None,
) -> Tensor:
    """Solve the probability flow from a time to another one.

    Arguments:
        sde: Process.
        solver: Solver.
        denoiser_of: Function `denoiser_of(rows)` that returns the denoiser of some rows of the batch, given their
            indices, or of all rows for None.
        x: States at `start`, (B, columns).
        start: Time, ().
        end: Time, (), above or below `start`.
        d: Number of columns of the state; the columns after them are log-determinants. None if all are of the state.
    Returns:
        States at `end`, (B, columns).
    Raises:
        InputError: If the dtype of x cannot meet the tolerance, or the sampler cannot run in this direction.
        SdekitError: If the solver fails to meet its tolerance.
    """
    if isinstance(solver.method, Sampler):
        return _solve_by_sampler(sde, solver.method, solver.steps, denoiser_of(None), x, start, end)
    solver.check(x.dtype)
    tolerance = solver.tolerance_in(x.dtype)
    flow = FlowCoordinates(sde)
    columns = x.shape[1]
    atol = x.new_full((columns,), tolerance)
    rtol = atol.clone()
    if d is not None:  # the error of a step in log p, in nats, counts as much as that of the whole state
        atol[d:] *= math.sqrt((columns - d) / columns) * math.sqrt(d)
        rtol[d:] = 0

    def field_of(rows: Tensor | None) -> Field:
        denoise = denoiser_of(rows)
        return lambda r, y: flow.field(denoise, r, y)

    try:
        y = solve_adaptive(
            field_of(None),
            x / flow.scale(start),
            flow.r(start),
            flow.r(end),
            method=str(solver.method),
            rtol=rtol,
            atol=atol,
            field_of=field_of,
        )
    except ToleranceError as error:
        raise SdekitError(f"the probability flow: {error}") from error
    return flow.scale(end) * y


def _solve_by_sampler(
    sde: SDE, sampler: Sampler, steps: int | None, denoise: Denoiser, x: Tensor, start: Tensor, end: Tensor
) -> Tensor:
    """Solve the flow with the formula of a sampler, along its default grid in either direction."""
    up = bool(end > start)
    start, end = (start, end) if up else (end, start)
    n = sampler.default_steps if steps is None else steps
    times = sampler.build_default_grid()(sde, max(n - 1, 1))
    times = torch.cat([end[None], times[(times > start) & (times < end)], start[None]])
    times = times.flip(0) if up else times
    if up:
        _check_inverse(sde, sampler, times)
    if sampler.requires_single_sample:
        raise InputError(
            f"{type(sampler).__name__} controls the error of a batch as a whole: choose error_norm='batch', or dopri5"
        )
    if not up:
        times, factor = start_at_finite_rho(sampler, sde, times)
        x = factor * x
    for state in sampler.trajectory(sde, denoise, x, times, _no_noise):
        x = state
    return x


def _check_inverse(sde: SDE, sampler: Sampler, times: Tensor) -> None:
    """Raise InputError if a sampler cannot run from data to noise; it is tried on data with one Gaussian dimension."""
    x = torch.full((1, 1), 1.0, dtype=torch.float64)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        return x * broadcast(alpha / (alpha**2 + sigma**2), x)

    for state in sampler.trajectory(sde, denoise, x * _std(sde, times[0]), times, _no_noise):
        x = state
    expected = _std(sde, times[-1])
    if not 0.1 < float(x) / float(expected) < 10:  # also refuses a NaN
        raise InputError(
            f"{type(sampler).__name__} with {len(times)} times does not solve the flow from data to noise: choose "
            "dopri5, heun or ddim, or more steps"
        )


def _std(sde: SDE, t: Tensor) -> Tensor:
    """Return the standard deviation of x_t for data with standard deviation 1."""
    return (sde.alpha(t) ** 2 + sde.sigma(t) ** 2).sqrt()


def _no_noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
    raise InputError("the solver draws noise, so it has no inverse")
