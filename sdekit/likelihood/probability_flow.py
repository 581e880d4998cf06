"""The probability-flow ODE in both directions, with the log-determinant of its map: encode, decode, log-likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.guidance import Guidance, SamplingContext, compose, resolve_guidance
from sdekit.integrators import METHODS, ToleranceError, solve_adaptive
from sdekit.processes import SDE, Denoiser, FlowCoordinates, as_time, broadcast, evaluate_denoiser
from sdekit.registry import resolve
from sdekit.sampling import Sampler, check_seeds

from .end_points import Divergence, leave_data, log_density_at_t_max, reach_data
from .trace import Trace, choose_trace

if TYPE_CHECKING:
    from sdekit.models import Condition

ADAPTIVE = "dopri5"
"""The default solver. On a mixture in 2 and in 64 dimensions, its error of log p at about 115 network evaluations was
smaller than that of each fixed-step method that was tried at 100 evaluations (heun, ddim, dpmpp-2m, dpmpp-3m, unipc,
deis, ipndm, lms, exp-rk3, rk4)."""
LEAST_TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-13}
"""Smallest tolerance that a dtype can meet."""
DEFAULT_TOLERANCE = {torch.float32: 1e-5, torch.float64: 3e-6}


@dataclass(frozen=True, kw_only=True)
class FlowSolver:
    """How the probability-flow ODE is solved.

    Arguments:
        method: "dopri5" or "bosh3", which control the error of each sample on its own; or a deterministic sampler or
            its registered name, such as "ddim" for DDIM inversion, "heun" or "ode" with any method of torchdiffeq.
        tolerance: Tolerance of dopri5 and bosh3, relative and absolute, for the state in the coordinates of
            `FlowCoordinates`, and in nats for log p. None is 3e-6 in float64 and 1e-5 in float32.
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

    def coarser(self) -> FlowSolver:
        """Return the same solver with ten times the tolerance or half the steps, to estimate its error."""
        if isinstance(self.method, Sampler):
            return FlowSolver(method=self.method, steps=max(2, (self.steps or self.method.default_steps) // 2))
        return FlowSolver(method=self.method, tolerance=None if self.tolerance is None else 10 * self.tolerance)


@dataclass(frozen=True)
class LogLikelihood:
    """Result of `log_likelihood`. All quantities are in the model's units, in nats.

    Arguments:
        log_prob: Log-density of each sample, (n,), float64.
        trace_error: Standard error of each log-density that is due to random probes, (n,); 0 with the exact trace, and
            NaN with a single probe.
        discretization_error: Estimated error of each log-density that is due to the ODE solver, (n,), or None if it was
            not estimated.
        latent: The noise x_T / sigma_T to which the flow takes each sample, (n, *shape).
        evaluations: Network evaluations of a sample, the largest of all batches.
        backward_passes: Backward passes of a sample, the largest of all batches.
    """

    log_prob: Tensor
    trace_error: Tensor
    discretization_error: Tensor | None
    latent: Tensor = field(repr=False)
    evaluations: int
    backward_passes: int


def log_likelihood(
    sde: SDE,
    denoise: Denoiser,
    x0: Tensor,
    *,
    y: Tensor | Condition | None = None,
    guidance: Sequence[Guidance | str] | Guidance | str = (),
    trace: Trace | None = None,
    solver: FlowSolver | Sampler | str = ADAPTIVE,
    at: Tensor | float | None = None,
    seeds: Sequence[int] | None = None,
    estimate_error: bool = False,
    batch_size: int | None = None,
) -> LogLikelihood:
    """Compute the log-density of data under the probability flow of a model.

        log p_0(x_0) = log p_T(x_T) + log |det dx_T / dx_0|

    A result depends on its own row and seed alone. All computations have the dtype of x0: use float64 for errors below
    1e-4 nats, with a model in float64.

    Arguments:
        sde: Process of the model.
        denoise: Denoiser, `denoise(x, t, y=None) -> E[x_0 | x_t = x, y]`, differentiable with respect to x.
        x0: Data in the model's units, (n, *shape).
        y: Conditions with n rows, or None.
        guidance: Functions of (sde, denoise), or registered names, the first one innermost. The density is then that
            of the guided flow.
        trace: Method of the trace; None for `choose_trace`.
        solver: Solver of the ODE: a `FlowSolver`, a sampler, or a name.
        at: Time at which x0 is a state x_t and its density is computed; None for data at t = 0.
        seeds: Seeds of the probes, one for each row; None for 0 to n - 1.
        estimate_error: Whether to run a coarser solver too, whose difference estimates the error of the solver.
        batch_size: Largest number of samples at a time; it does not affect the result.
    Returns:
        Log-densities, their errors and the latents.
    Raises:
        InputError: If an argument is invalid or the data contain a NaN.
        SdekitError: If the solver cannot meet its tolerance.
    Source:
        Chen et al. 2018 (neural ODEs); Song et al. 2021, eq. 39.
    """
    flow = _Flow(sde, denoise, guidance, solver, x0)
    d = math.prod(x0.shape[1:])
    trace = choose_trace(d) if trace is None else trace
    seeds = check_seeds(range(len(x0)) if seeds is None else seeds)
    if len(seeds) != len(x0):
        raise InputError(f"log_likelihood: {len(seeds)} seeds for {len(x0)} samples")
    parts = []
    for rows in _batches(len(x0), batch_size):
        probes = trace.draw(seeds[rows], d).to(x0)
        run = flow.rows(None if y is None else y[rows])
        parts.append(run.log_likelihood(x0[rows].flatten(1), trace, probes, at, estimate_error))
    errors = [p.discretization_error for p in parts if p.discretization_error is not None]
    return LogLikelihood(
        log_prob=torch.cat([p.log_prob for p in parts]),
        trace_error=torch.cat([p.trace_error for p in parts]),
        discretization_error=torch.cat(errors) if errors else None,
        latent=torch.cat([p.latent for p in parts]).view_as(x0),
        evaluations=max(p.evaluations for p in parts),
        backward_passes=max(p.backward_passes for p in parts),
    )


def encode(
    sde: SDE,
    denoise: Denoiser,
    x0: Tensor,
    *,
    y: Tensor | Condition | None = None,
    guidance: Sequence[Guidance | str] | Guidance | str = (),
    solver: FlowSolver | Sampler | str = ADAPTIVE,
    batch_size: int | None = None,
) -> Tensor:
    """Map data to noise by the probability flow.

    Arguments:
        sde: Process of the model.
        denoise: Denoiser.
        x0: Data in the model's units, (n, *shape).
        y: Conditions with n rows, or None.
        guidance: Functions of (sde, denoise), or registered names.
        solver: Solver of the ODE; "ddim" is DDIM inversion.
        batch_size: Largest number of samples at a time.
    Returns:
        The latents x_T / sigma_T, (n, *shape). For data of the model, they are standard normal.
    Raises:
        InputError: If an argument is invalid or the data contain a NaN.
    Source:
        Song, Meng & Ermon 2021, section 5.4; Song et al. 2021, section 4.3.
    """
    flow = _Flow(sde, denoise, guidance, solver, x0)
    parts = [
        flow.rows(None if y is None else y[rows]).encode(x0[rows].flatten(1)) for rows in _batches(len(x0), batch_size)
    ]
    return torch.cat(parts).view_as(x0)


def decode(
    sde: SDE,
    denoise: Denoiser,
    latent: Tensor,
    *,
    y: Tensor | Condition | None = None,
    guidance: Sequence[Guidance | str] | Guidance | str = (),
    solver: FlowSolver | Sampler | str = ADAPTIVE,
    batch_size: int | None = None,
) -> Tensor:
    """Map noise to data by the probability flow, the inverse of `encode`.

    Arguments:
        sde: Process of the model.
        denoise: Denoiser.
        latent: Latents, (n, *shape).
        y: Conditions with n rows, or None.
        guidance: Functions of (sde, denoise), or registered names.
        solver: Solver of the ODE.
        batch_size: Largest number of samples at a time.
    Returns:
        Data in the model's units, (n, *shape).
    Raises:
        InputError: If an argument is invalid or the latents contain a NaN.
    """
    flow = _Flow(sde, denoise, guidance, solver, latent)
    parts = [
        flow.rows(None if y is None else y[rows]).decode(latent[rows].flatten(1))
        for rows in _batches(len(latent), batch_size)
    ]
    return torch.cat(parts).view_as(latent)


class _Flow:
    """The probability flow of a guided model, on states (B, d)."""

    def __init__(
        self,
        sde: SDE,
        denoise: Denoiser,
        guidance: Sequence[Guidance | str] | Guidance | str,
        solver: FlowSolver | Sampler | str,
        x: Tensor,
    ) -> None:
        self.sde, self.shape, self.dtype = sde, x.shape[1:], x.dtype
        self.denoise = compose(sde, denoise, resolve_guidance(guidance) if guidance else [])
        self.solver = solver if isinstance(solver, FlowSolver) else FlowSolver(method=solver)
        self.coordinates = FlowCoordinates(sde)
        self.y: Tensor | Condition | None = None
        self.evaluations = self.backward_passes = 0
        _check_finite(x)

    def rows(self, y: Tensor | Condition | None) -> _Flow:
        """Return the flow of a batch with conditions y."""
        flow = object.__new__(_Flow)
        vars(flow).update(vars(self), y=y, evaluations=0, backward_passes=0)
        return flow

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Denoise states x (B, d)."""
        self.evaluations += 1
        with SamplingContext(torch.tensor([self.sde.t_max, self.sde.t_min], dtype=torch.float64)).active():
            return evaluate_denoiser(self.denoise, x.view(-1, *self.shape), t, self.y).flatten(1)

    def divergence(self, trace: Trace, probes: Tensor) -> Divergence:
        """Return the function that denoises and computes the trace."""

        def evaluate(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            denoised, traces = trace.evaluate(lambda z: self(z, t), x, probes)
            self.backward_passes += probes.shape[1] or x.shape[1]
            return denoised, traces

        return evaluate

    @torch.no_grad()
    def encode(self, x0: Tensor) -> Tensor:
        divergence: Divergence = lambda x, t: (self(x, t), x.new_zeros(len(x), 0))  # noqa: E731
        x, _ = leave_data(self.sde, self, divergence, x0)
        return self._solve(self, x, self.solver, forward=True) / self.sde.sigma(as_time(self.sde.t_max))

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        x = self._solve(self, self.sde.prior(latent), self.solver, forward=False)
        return reach_data(self.sde, self, x)

    @torch.no_grad()
    def log_likelihood(
        self, x0: Tensor, trace: Trace, probes: Tensor, at: Tensor | float | None, estimate_error: bool
    ) -> LogLikelihood:
        log_prob, error, latent = self._log_likelihood(x0, trace, probes, at, self.solver)
        evaluations, passes, difference = self.evaluations, self.backward_passes, None
        if estimate_error:
            coarse = self.solver.coarser()
            if not isinstance(coarse.method, Sampler) and coarse.tolerance is None:
                coarse = FlowSolver(method=coarse.method, tolerance=10 * DEFAULT_TOLERANCE.get(self.dtype, 1e-5))
            difference = (self._log_likelihood(x0, trace, probes, at, coarse)[0] - log_prob).abs()
        return LogLikelihood(log_prob, error, difference, latent, evaluations, passes)

    def _log_likelihood(
        self, x0: Tensor, trace: Trace, probes: Tensor, at: Tensor | float | None, solver: FlowSolver
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log p (B,), the standard error of its trace (B,), and the latent (B, d).

        The state has one more column for each estimate of the trace. In the coordinates y = x / scale and
        r = sigma / scale, the flow is dy/dr = (y - D_y) / r with D_y the denoised x in units of y, up to the weights
        of `FlowCoordinates`. A column w of the state is moved by the same equation if its denoised value is
        w / scale + r div, with r div = d - scale tr dD/dx; then d(w / scale)/dr = -div. So every method that solves
        the probability flow also integrates the divergence.
        """
        sde, d, scale = self.sde, x0.shape[1], self.coordinates.scale
        divergence = self.divergence(trace, probes)
        if at is None:
            x, change = leave_data(sde, self, divergence, x0)
            start = as_time(sde.t_min)
            change = change + d * sde.alpha(start).log()
        else:
            x, start = x0, as_time(at)
            change = x0.new_zeros(len(x0), trace.columns)

        def augmented(state: Tensor, t: Tensor) -> Tensor:
            denoised, traces = divergence(state[:, :d], t)
            s = broadcast(scale(t), state)
            return torch.cat([denoised, state[:, d:] / s + d - s * traces], 1)

        state = torch.cat([x, torch.zeros_like(change)], 1)
        state = self._solve(augmented, state, solver, forward=True, start=start, d=d)
        end = as_time(sde.t_max)
        x_end, log_determinant = state[:, :d], state[:, d:] / scale(end)
        estimates = (change - log_determinant).double() - d * (scale(start) / scale(end)).log()
        at_end = log_density_at_t_max(sde, self, divergence, x_end, trace)
        log_prob = at_end.double() + estimates.mean(1)
        return log_prob, trace.standard_error(estimates, d), x_end / sde.sigma(end)

    def _solve(
        self,
        denoise: Denoiser,
        x: Tensor,
        solver: FlowSolver,
        *,
        forward: bool,
        start: Tensor | None = None,
        d: int | None = None,
    ) -> Tensor:
        """Solve the flow between t_min (or start) and t_max; columns of x from d on are log-determinants."""
        sde = self.sde
        start, end = as_time(sde.t_min) if start is None else start, as_time(sde.t_max)
        if isinstance(solver.method, Sampler):
            return _solve_by_sampler(sde, solver.method, solver.steps, denoise, x, start, end, forward)
        tolerance = DEFAULT_TOLERANCE.get(x.dtype, 1e-5) if solver.tolerance is None else solver.tolerance
        if tolerance < LEAST_TOLERANCE.get(x.dtype, 0.0):
            raise InputError(
                f"tolerance {tolerance:g} cannot be met in {str(x.dtype).removeprefix('torch.')}: use at least "
                f"{LEAST_TOLERANCE[x.dtype]:g}, or compute in float64"
            )
        flow = self.coordinates
        first, last = (start, end) if forward else (end, start)
        columns = x.shape[1]
        atol = x.new_full((columns,), tolerance)
        rtol = atol.clone()
        if d is not None:  # the error of a step in log p, in nats, counts as much as that of the whole state
            atol[d:] *= math.sqrt((columns - d) / columns) * math.sqrt(d)
            rtol[d:] = 0
        try:
            y = solve_adaptive(
                lambda r, y: flow.field(denoise, r, y),
                x / flow.scale(first),
                flow.r(first),
                flow.r(last),
                method=str(solver.method),
                rtol=rtol,
                atol=atol,
            )
        except ToleranceError as error:
            raise SdekitError(f"the probability flow: {error}") from error
        return flow.scale(last) * y


def _solve_by_sampler(
    sde: SDE, sampler: Sampler, steps: int | None, denoise: Denoiser, x: Tensor, start: Tensor, end: Tensor, up: bool
) -> Tensor:
    """Solve the flow with the formula of a sampler, along its default grid in either direction."""
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


def _batches(n: int, batch_size: int | None) -> list[slice]:
    """Return the slices of batches of n samples."""
    if n < 1:
        raise InputError("there are no samples")
    size = n if batch_size is None else batch_size
    if size < 1:
        raise InputError(f"batch_size must be at least 1, got {size}")
    return [slice(first, first + size) for first in range(0, n, size)]


def _check_finite(x: Tensor) -> None:
    """Raise InputError if x is not a floating-point tensor with finite numbers."""
    if not x.is_floating_point() or x.ndim < 2:
        raise InputError(f"expected data (n, *shape) of a floating-point dtype, got {tuple(x.shape)} of {x.dtype}")
    bad = (~x.flatten(1).isfinite()).any(1).nonzero()
    if len(bad):
        raise InputError(f"the data contain a number that is not finite, first in row {int(bad[0])}")
