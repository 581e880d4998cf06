"""The probability-flow ODE in both directions, with the log-determinant of its map: encode, decode, log-likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance, SamplingContext, compose, resolve_guidance
from sdekit.processes import SDE, Denoiser, FlowCoordinates, as_time, broadcast, evaluate_denoiser
from sdekit.sampling import Sampler, check_seeds

from .end_points import Divergence, leave_data, log_density_at_t_max, reach_data
from .flow_solver import ADAPTIVE, RANDOM_TRACE_TOLERANCE, FlowSolver, solve_flow
from .intervals import MeanInterval, pooled_interval, t_quantile
from .trace import Trace, choose_trace

if TYPE_CHECKING:
    from sdekit.models import Condition


@dataclass(frozen=True)
class LogLikelihood:
    """Result of `log_likelihood`. All quantities are in the model's units, in nats.

    Arguments:
        log_prob: Log-density of each sample, (n,), float64.
        trace_error: Standard error of each log-density that is due to random probes, (n,); 0 with the exact trace, and
            NaN with a single probe.
        discretization_error: Estimated error of each log-density that is due to the ODE solver, (n,), or None if it was
            not estimated; NaN if the sampler cannot run with half the steps.
        latent: The noise x_T / sigma_T to which the flow takes each sample, (n, *shape).
        estimates: Log-density of each sample by each estimate of the trace, (n, K), whose mean is log_prob.
        evaluations: Network evaluations of a sample, the largest of all batches.
        backward_passes: Backward passes of a sample, the largest of all batches.
    """

    log_prob: Tensor
    trace_error: Tensor
    discretization_error: Tensor | None
    latent: Tensor = field(repr=False)
    estimates: Tensor = field(repr=False)
    evaluations: int
    backward_passes: int

    def interval(self, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
        """Return the interval of each log-density that is due to random probes, by Student's t with K - 1 degrees.

        Arguments:
            confidence: Probability that the interval contains the exact value, between 0 and 1.
        Returns:
            Lower and upper ends, (n,) each; equal for the exact trace, and NaN with a single probe.
        """
        factor = t_quantile(confidence, self.estimates.shape[1] - 1)
        half = torch.where(self.trace_error == 0, 0.0, factor * self.trace_error)
        return self.log_prob - half, self.log_prob + half

    def interval_of_mean(self, confidence: float = 0.95) -> MeanInterval:
        """Return the mean log-density of these samples, with the interval that is due to random probes.

        Arguments:
            confidence: Probability that the interval contains the exact mean, between 0 and 1.
        Returns:
            Mean, standard error and interval, see `pooled_interval`. For the mean over all data of this kind, use
            `mean_interval(result.log_prob)`.
        """
        return pooled_interval(self.log_prob, self.trace_error, self.estimates.shape[1] - 1, confidence)


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
        run = flow.batch(None if y is None else y[rows])
        parts.append(run.log_likelihood(x0[rows].flatten(1), trace, probes, at, estimate_error))
    errors = [p.discretization_error for p in parts if p.discretization_error is not None]
    return LogLikelihood(
        log_prob=torch.cat([p.log_prob for p in parts]),
        trace_error=torch.cat([p.trace_error for p in parts]),
        discretization_error=torch.cat(errors) if errors else None,
        latent=torch.cat([p.latent for p in parts]).view_as(x0),
        estimates=torch.cat([p.estimates for p in parts]),
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
        flow.batch(None if y is None else y[rows]).encode(x0[rows].flatten(1)) for rows in _batches(len(x0), batch_size)
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
        flow.batch(None if y is None else y[rows]).decode(latent[rows].flatten(1))
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
        self.ends = as_time(sde.t_min), as_time(sde.t_max)
        self.denoise = compose(sde, denoise, resolve_guidance(guidance) if guidance else [])
        self.solver = solver if isinstance(solver, FlowSolver) else FlowSolver(method=solver)
        self.context = SamplingContext(torch.tensor([sde.t_max, sde.t_min], dtype=torch.float64))
        self.y: Tensor | Condition | None = None
        self.counts = {"evaluations": 0, "backward_passes": 0}
        _check_finite(x)

    def batch(self, y: Tensor | Condition | None) -> _Flow:
        """Return the flow of a batch with conditions y."""
        return self._copy(y=y, counts={"evaluations": 0, "backward_passes": 0})

    def rows(self, rows: Tensor | None) -> _Flow:
        """Return the flow of some rows of this batch, which counts evaluations together with it."""
        return self if rows is None or self.y is None else self._copy(y=self.y[rows])

    def _copy(self, **changes: Any) -> _Flow:
        flow = object.__new__(_Flow)
        vars(flow).update(vars(self) | changes)
        return flow

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Denoise states x (B, d)."""
        self.counts["evaluations"] += 1
        with self.context.active():
            return evaluate_denoiser(self.denoise, x.view(-1, *self.shape), t, self.y).flatten(1)

    def divergence(self, trace: Trace, probes: Tensor) -> Divergence:
        """Return the function that denoises and computes the trace."""

        def evaluate(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            denoised, traces = trace.evaluate(lambda z: self(z, t), x, probes)
            self.counts["backward_passes"] += probes.shape[1] or x.shape[1]
            return denoised, traces

        return evaluate

    @torch.no_grad()
    def encode(self, x0: Tensor) -> Tensor:
        sde, (start, end) = self.sde, self.ends
        divergence: Divergence = lambda x, t: (self(x, t), x.new_zeros(len(x), 0))  # noqa: E731
        x, _ = leave_data(sde, self, divergence, x0)
        return solve_flow(sde, self.solver, self.rows, x, start, end) / sde.sigma(end)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        sde, (start, end) = self.sde, self.ends
        x = solve_flow(sde, self.solver, self.rows, sde.prior(latent), end, start)
        return reach_data(sde, self, x)

    @torch.no_grad()
    def log_likelihood(
        self, x0: Tensor, trace: Trace, probes: Tensor, at: Tensor | float | None, estimate_error: bool
    ) -> LogLikelihood:
        solver = self.solver
        if probes.shape[1] and solver.tolerance is None and not isinstance(solver.method, Sampler):
            solver = FlowSolver(method=solver.method, tolerance=RANDOM_TRACE_TOLERANCE)
        estimates, latent = self._log_likelihood(x0, trace, probes, at, solver)
        counts, difference = dict(self.counts), None
        if estimate_error:
            try:
                coarse, _ = self._log_likelihood(x0, trace, probes, at, solver.coarser(self.dtype))
                difference = (coarse - estimates).mean(1).abs()
            except InputError:  # half the steps are too few for this sampler
                difference = torch.full_like(estimates[:, 0], torch.nan)
        error = trace.standard_error(estimates, x0.shape[1])
        return LogLikelihood(estimates.mean(1), error, difference, latent, estimates, **counts)

    def _log_likelihood(
        self, x0: Tensor, trace: Trace, probes: Tensor, at: Tensor | float | None, solver: FlowSolver
    ) -> tuple[Tensor, Tensor]:
        """Return log p with each estimate of the trace (B, K), and the latent (B, d).

        The state has one more column for each estimate of the trace. In the coordinates y = x / scale and
        r = sigma / scale, the flow is dy/dr = (y - D_y) / r with D_y the denoised x in units of y, up to the weights
        of `FlowCoordinates`. A column w of the state is moved by the same equation if its denoised value is
        w / scale + r div, with r div = d - scale tr dD/dx; then d(w / scale)/dr = -div. So every method that solves
        the probability flow also integrates the divergence.
        """
        sde, d, scale = self.sde, x0.shape[1], FlowCoordinates(self.sde).scale
        start, end = self.ends if at is None else (as_time(at), self.ends[1])
        divergence = self.divergence(trace, probes)
        if at is None:
            x, change = leave_data(sde, self, divergence, x0)
            change = change + d * sde.alpha(start).log()
        else:
            x, change = x0, x0.new_zeros(len(x0), trace.columns)

        def augmented_flow(rows: Tensor | None) -> Denoiser:
            divergence = self.rows(rows).divergence(trace, probes if rows is None else probes[rows])

            def denoise(state: Tensor, t: Tensor) -> Tensor:
                denoised, traces = divergence(state[:, :d], t)
                s = broadcast(scale(t), state)
                return torch.cat([denoised, state[:, d:] / s + d - s * traces], 1)

            return denoise

        state = torch.cat([x, torch.zeros_like(change)], 1)
        state = solve_flow(sde, solver, augmented_flow, state, start, end, d=d)
        x_end, log_determinant = state[:, :d], state[:, d:] / scale(end)
        estimates = (change - log_determinant).double() - d * (scale(start) / scale(end)).log()
        at_end = log_density_at_t_max(sde, self, divergence, x_end, trace)
        return at_end.double()[:, None] + estimates, x_end / sde.sigma(end)


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
