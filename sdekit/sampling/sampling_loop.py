"""The sampling loop: from noise at t_max along a time grid to samples of x_0."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from sdekit.arguments import (
    check_count,
    check_device,
    check_dtype,
    check_function,
    check_instance,
    check_shape,
    check_tensor,
    describe_value,
)
from sdekit.errors import InputError, SdekitError
from sdekit.guidance import SamplingContext, count_calls
from sdekit.processes import SDE, Denoiser, check_process
from sdekit.registry import resolve, with_data_std

from .finite_results import require_finite_results
from .finite_start import marginal_std, start_at_finite_rho
from .grids import MOST_STEPS
from .noise import SeedNoise, check_seeds
from .sampler import Grid, Sampler
from .samples import Samples
from .watching import Callback, Observer, Progress, progress_line

if TYPE_CHECKING:
    from sdekit.guidance import Guidance
    from sdekit.models import Condition

    from .brownian import Brownian

MOST_SAMPLES = 10**9
"""Largest number of samples of one call."""
EXPLOSION_FACTOR = 10.0
"""Samples count as exploded if their root mean square is more than this factor times the root mean square of samples
without guidance, and also more than this factor times the larger of 1 and the standard deviation of the data. With cfg
on a small network trained on digits, the ratio is 5 at scale 20 and 100 at scale 1000."""

LEAST_FIRST_RHO = 5.0
"""Smallest noise level below t_max from which samples may be drawn. x then has the variance of x_t for data of variance
1. Makers of models with a table of betas use such grids, whose first time is below the last knot."""


@torch.no_grad()
def sample(
    sde: SDE,
    denoise: Denoiser,
    sampler: Sampler | str = "auto",
    *,
    shape: Sequence[int],
    n: int | None = None,
    seeds: Sequence[int] | None = None,
    x: Tensor | None = None,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | str | Tensor | None = None,
    y: Tensor | Condition | None = None,
    guidance: Sequence[Guidance | str] | Guidance | str = (),
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    trajectory: bool = False,
    noise: Literal["seed", "brownian"] | None = None,
    progress: bool | Progress = False,
    callback: Callback | None = None,
) -> Samples:
    """Draw samples of x_0: step from t_max along a grid to its last time, then denoise once.

    Arguments:
        sde: Process of the model.
        denoise: Denoiser, `denoise(x, t, y=None) -> E[x_0 | x_t = x, y]`.
        sampler: Sampler, or its registered name. A name is built with the `data_std` of the denoiser, if both have it.
        shape: Shape of one sample.
        n: Number of samples; their seeds are 0 to n - 1.
        seeds: Seeds of the samples, instead of n. A sample depends on its own seed alone.
        x: State at the first time of the grid, (n, *shape), instead of a draw from the prior at t_max.
        steps: Number of grid times: a method of one call per step makes steps - 1 steps and the final denoising.
        nfe: Largest number of network evaluations, instead of steps; the run takes the most steps that fit.
        grid: Grid `grid(sde, n)`, its registered name, or the decreasing times themselves.
        y: Conditions with n rows: a tensor (n, ...) or a `sdekit.models.Condition`.
        guidance: Functions of (sde, denoise), or registered names, the first one innermost.
        batch_size: Largest number of samples at a time; it does not affect the samples.
        dtype: Dtype of the samples.
        device: Device of the samples.
        trajectory: Whether to return the state at every time.
        noise: Source of the noise of a stochastic sampler: "seed" numbers the draws of each seed; "brownian" gives each
            seed one Brownian path, which is the same for any number of steps; None is the default of the sampler.
        progress: True for a progress bar on stderr, which is a line of text outside of a terminal; or a function
            `progress(done, total)` of the network evaluations of all batches, called after each one. The total is None
            if it is not known.
        callback: Function of a `SamplingStep`, called after each step. If it returns True or raises `StopSampling`, x
            is denoised at once and the remaining steps of the batch are left out. It does not change the samples
            otherwise.
    Returns:
        Samples, with the network evaluations, seeds and times of the run.
    Raises:
        InputError: If arguments are invalid or contradict each other, or the guidance exploded.
        SdekitError: If the denoiser or the solver failed.
    """
    check_process("sample", sde)
    check_function("sample: denoise", denoise, "a denoiser, a function of (x, t) or (x, t, y)")
    method: Sampler = resolve_for_data("sampler", sampler, denoise)
    check_instance("sample: sampler", method, Sampler, "a sampler or a registered name such as 'ddim'")
    if noise is not None and not method.stochastic:
        raise InputError(
            f"sample: {type(method).__name__} draws no noise: leave out noise={noise!r}, or use another sampler"
        )
    if noise not in (None, "seed", "brownian"):
        raise InputError(f"sample: noise must be 'seed' or 'brownian', got {noise!r}")
    check_dtype("sample: dtype", dtype)
    shape, device = check_shape("sample: shape", shape), check_device("sample", device)
    if x is not None:
        check_tensor("sample: x", x)
    seeds = _resolve_seeds(n, seeds, x)
    if not isinstance(trajectory, bool):
        raise InputError(f"sample: trajectory must be True or False, got {describe_value(trajectory)}")
    y = _check_conditions(y, len(seeds), device)
    grid = grid if isinstance(grid, Tensor) else resolve_for_data("grid", grid, denoise)
    guides, cost = _resolve_guidance(guidance), 1
    if guides and nfe is not None:
        from sdekit.guidance import guidance_cost

        cost = guidance_cost(sde, guides, torch.zeros(1, *shape, dtype=dtype, device=device), y)
    times = _resolve_times(sde, method, steps, nfe, grid, cost)
    _check_start(sde, x, times, (len(seeds), *shape))
    times, factor = start_at_finite_rho(method, sde, times)
    if callback is not None:
        check_function("sample: callback", callback, "a function of a SamplingStep")
    if not isinstance(progress, bool):
        check_function("sample: progress", progress, "True, False or a function of (done, total)")
    request = _Request(
        sde=sde,
        denoise=denoise,
        sampler=method,
        times=times,
        seeds=seeds,
        shape=shape,
        x=None if x is None else factor * x,
        y=y,
        guidance=guides,
        noise=noise or method.default_noise,
        batch_size=_resolve_batch_size(batch_size, method, len(seeds)),
        dtype=dtype,
        device=device,
        trajectory=trajectory,
        solver=sampler if isinstance(sampler, str) else type(method).__name__,
    )
    batches = list(request.batches())
    with _observer(request, progress, callback) as observer:
        return _assemble(request, [_run_batch(request, batch, observer) for batch in batches])


@contextmanager
def _observer(request: _Request, progress: bool | Progress, callback: Callback | None) -> Iterator[Observer | None]:
    """Context manager of the observer of a run, or None without progress and callback."""
    if progress is False and callback is None:
        yield None
        return
    total: int | None = None
    show: AbstractContextManager[Progress | None] = nullcontext()
    if progress is not False:
        with suppress(SdekitError):  # of a guidance; the run raises it too, with the whole batch in its message
            evaluations = request.sampler.evaluations(len(request.times), _guidance_cost(request))
            total = None if evaluations is None else evaluations * len(list(request.batches()))
        count, name = len(request.seeds), request.solver
        show = progress_line(f"sampling {count} with {name}") if progress is True else nullcontext(progress)
    with show as shown:
        yield Observer(request.times, shown, total, callback)


def _guidance_cost(request: _Request) -> int:
    """Return the number of network evaluations of one denoising."""
    if not request.guidance:
        return 1
    from sdekit.guidance import guidance_cost

    one = torch.zeros(1, *request.shape, dtype=request.dtype, device=request.device)
    return guidance_cost(request.sde, request.guidance, one, request.y)


@dataclass(frozen=True, kw_only=True)
class _Request:
    """Arguments of `sample`, checked and resolved."""

    sde: SDE
    denoise: Denoiser
    sampler: Sampler
    times: Tensor
    seeds: tuple[int, ...]
    shape: tuple[int, ...]
    x: Tensor | None
    y: Tensor | Condition | None
    guidance: list[Guidance]
    noise: str
    batch_size: int
    dtype: torch.dtype
    device: torch.device | str
    trajectory: bool
    solver: str

    def batches(self) -> Iterator[slice]:
        """Yield the samples of each batch."""
        for start in range(0, len(self.seeds), self.batch_size):
            yield slice(start, start + self.batch_size)


@dataclass(frozen=True)
class BatchResult:
    """Result of one batch: the states of the whole path, or x_0 alone, with x_0 last, and the network evaluations."""

    path: list[Tensor]
    nfe: int


def _run_batch(request: _Request, batch: slice, observer: Observer | None) -> BatchResult:
    """Run one batch; if it fails or its samples are not plausible, run it again to find the cause."""

    def run(denoise: Denoiser, guidance: list[Guidance]) -> BatchResult:
        return _run(request, batch, denoise, guidance, None)

    limit, result = EXPLOSION_FACTOR * max(1.0, _data_std(request.denoise)), None
    try:
        result = _run(request, batch, request.denoise, request.guidance, observer)
    except InputError:
        raise
    except SdekitError:  # a solver gave up, perhaps on exploded values of a guidance
        if not request.guidance:
            raise
    if result is not None and _is_plausible(result.path[-1], limit if request.guidance else math.inf):
        return result
    from .diagnostics import find_cause

    return find_cause(run, request.denoise, request.guidance, request.seeds[batch], limit, result)


def _run(
    request: _Request, batch: slice, denoise: Denoiser, guidance: list[Guidance], observer: Observer | None
) -> BatchResult:
    """Draw the samples of one batch with the same noise in every call."""
    noise = _build_noise(request, batch)
    if request.x is None:
        start = _draw_start(request.sde, request.times[0], noise())
    else:  # the first draw belongs to the prior, and x may have been drawn from it
        noise.skip()
        start = request.x[batch].to(request.device, request.dtype)
    adaptive = request.sampler.calls_per_step is None
    watched = require_finite_results(denoise, request.seeds[batch], first_only=not adaptive)
    bound = _bind(request.sde, watched, guidance, None if request.y is None else request.y[batch])
    context, path, end = SamplingContext(request.times, adaptive=adaptive), [start], request.times[-1]
    if observer is not None:
        bound = observer.start(bound, context, request.seeds[batch])
        context.stepwise = observer.callback is not None
    with context.active():
        for i, x in enumerate(request.sampler.trajectory(request.sde, bound, start, request.times, noise), 1):
            path = [*path, x] if request.trajectory else [x]
            if observer is not None and observer.stops_after(i, x):
                end = request.times[i]
                break
        path.append(bound(path[-1], end))
    if observer is not None:
        observer.finish(end, path[-1])
    if request.trajectory:
        path += path[-1:] * (len(request.times) + 1 - len(path))  # after an early stop
    return BatchResult(path, context.evaluations)


def _draw_start(sde: SDE, t: Tensor, noise: Tensor) -> Tensor:
    """Return x at the first time of the grid: the prior at t_max, or N(0, alpha^2 + sigma^2) below it."""
    return sde.prior(noise) if t >= sde.t_max * (1 - 1e-6) else marginal_std(sde, t) * noise


def _assemble(request: _Request, results: list[BatchResult]) -> Samples:
    """Join the batches."""
    parts = [torch.stack(r.path) if request.trajectory else r.path[-1] for r in results]
    whole = torch.cat(parts, int(request.trajectory)) if len(parts) > 1 else parts[0]
    nfe = max(result.nfe for result in results)
    x, trajectory = (whole[-1], whole) if request.trajectory else (whole, None)
    return Samples(x, nfe, request.seeds, request.times, trajectory, solver=request.solver, y=request.y)


def _build_noise(request: _Request, batch: slice) -> SeedNoise | Brownian:
    """Return a new source of noise for one batch, at its first draw."""
    seeds = request.seeds[batch]
    if request.noise == "brownian":
        from .brownian import Brownian

        return Brownian(request.sde, seeds, request.shape, dtype=request.dtype, device=request.device)
    return SeedNoise(seeds, request.shape, dtype=request.dtype, device=request.device)


def _bind(sde: SDE, denoise: Denoiser, guidance: list[Guidance], y: Tensor | Condition | None) -> Denoiser:
    """Return the denoiser that the sampler calls: counted, guided and with its condition."""
    bound = count_calls(denoise)
    if guidance:
        from sdekit.guidance import compose

        bound = compose(sde, bound, guidance)
    return bound if y is None else lambda x, t: bound(x, t, y)


def resolve_for_data(kind: str, choice: Any, denoise: Denoiser) -> Any:
    """Return the sampler or grid that a user chose. A registered name is built for the data of a denoiser.

    Arguments:
        kind: "sampler" or "grid".
        choice: Registered name, or the object itself.
        denoise: Denoiser. If it has the attribute `data_std`, a component with an option of this name receives it.
    Returns:
        The built component, or `choice`.
    Raises:
        InputError: If no component has this name.
    """
    if not isinstance(choice, str):
        return choice
    return resolve(kind, choice, **with_data_std(kind, choice, {}, _data_std(denoise)))


def _data_std(denoise: Denoiser) -> float:
    """Standard deviation of the data of a denoiser, 1 if it declares none."""
    return float(getattr(denoise, "data_std", 1.0))


def _is_plausible(x: Tensor, limit: float) -> bool:
    """Whether all values are finite and, if there is a limit, no sample exceeds it."""
    # a finite sum proves that all values are finite, and is cheaper than `isfinite`; finite values may overflow it
    finite = math.isfinite(x.sum().item()) or bool(x.isfinite().all())
    return finite and (limit == math.inf or not has_exploded(x, limit))


def root_mean_square(x: Tensor) -> Tensor:
    """Return the root mean square of each sample, (B,), for x (B, *)."""
    norm: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norm / math.sqrt(max(x[0].numel(), 1))


def has_exploded(x: Tensor, limit: float) -> bool:
    """Whether a sample of (B, *) has a root mean square above the limit, or is not finite."""
    return not bool((root_mean_square(x) <= limit).all())


def _resolve_guidance(guidance: Sequence[Guidance | str] | Guidance | str | None) -> list[Guidance]:
    if guidance is None or (isinstance(guidance, list | tuple) and not guidance):
        return []
    from sdekit.guidance import resolve_guidance

    return resolve_guidance(guidance)


def _resolve_seeds(n: int | None, seeds: Sequence[int] | None, x: Tensor | None) -> tuple[int, ...]:
    if seeds is None:
        n = n if n is not None or x is None or not x.ndim else len(x)
        if n is None:
            raise InputError("sample: say how many samples (n, at least 1) or which (seeds), got n=None")
        return tuple(range(check_count("sample: say how many samples: n", n, least=1, most=MOST_SAMPLES)))
    seeds = check_seeds(seeds)
    if n is not None and n != len(seeds):
        raise InputError(f"sample: n={n} but {len(seeds)} seeds: give one of them")
    if not seeds:
        raise InputError("sample: seeds is empty")
    return seeds


def _check_conditions(y: Tensor | Condition | None, n: int, device: torch.device | str) -> Tensor | Condition | None:
    """Check that y has one condition per sample, and move it to the device."""
    if y is None:
        return None
    if not isinstance(y, Tensor):
        from sdekit.models import Condition

        if not isinstance(y, Condition):
            raise InputError(f"sample: y must be a tensor (n, ...) or a Condition, got {type(y).__name__}")
    if tuple(y.shape[:1]) != (n,):
        raise InputError(f"sample: y has shape {tuple(y.shape)}, expected one condition per sample, {n} in all")
    return y.to(device)


def _check_start(sde: SDE, x: Tensor | None, times: Tensor, shape: tuple[int, ...]) -> None:
    """Check the state at the first time of the grid."""
    if x is None and times[0] < sde.t_max * (1 - 1e-6) and not sde.rho(times[0]) >= LEAST_FIRST_RHO:
        raise InputError(
            f"sample: the grid starts at t = {times[0]:g}, below t_max = {sde.t_max:g}, where the prior is not the "
            "distribution of x: give x, or start at t_max"
        )
    if x is not None and tuple(x.shape) != shape:
        raise InputError(f"sample: x has shape {tuple(x.shape)}, expected {shape}")


def _resolve_batch_size(batch_size: int | None, sampler: Sampler, n: int) -> int:
    batch_size = n if batch_size is None else check_count("sample: batch_size", batch_size, least=1)
    return 1 if sampler.requires_single_sample else batch_size


def _resolve_times(
    sde: SDE, sampler: Sampler, steps: int | None, nfe: int | None, grid: Grid | Tensor | None, cost: int
) -> Tensor:
    """Return the times of the grid, t_max first; `cost` is the number of network evaluations of one denoising."""
    if grid is not None and not isinstance(grid, Tensor):
        check_function("sample: grid", grid, "a name, a function of (sde, n) or a tensor of times")
    if isinstance(grid, Tensor):
        if steps is not None or nfe is not None:
            raise InputError("sample: a grid of explicit times sets the number of steps: leave steps and nfe out")
        check_tensor("sample: grid", grid, finite=False)
        return _check_times(sde, grid.cpu().double())
    if steps is not None and nfe is not None:
        raise InputError(f"sample: steps={steps} and nfe={nfe} both given: choose one")
    if nfe is not None:
        nfe = check_count("sample: nfe", nfe)
        steps = sampler.steps_for(nfe, cost)
    steps = check_count("sample: steps", sampler.default_steps if steps is None else steps, least=1, most=MOST_STEPS)
    chosen = sampler.build_default_grid() if grid is None else grid
    times: Tensor = chosen(sde, steps - 1) if steps > 1 else torch.tensor([sde.t_max], dtype=torch.float64)
    return _check_times(sde, times)


def _check_times(sde: SDE, times: Tensor) -> Tensor:
    check_tensor("sample: the times of the grid", times, finite=False)
    values = times.tolist()  # comparing fifty numbers is faster than comparing tensors
    decreasing = all(map(operator.gt, values, values[1:])) if times.ndim == 1 else False
    if not values or not decreasing or not all(map(math.isfinite, values)):
        raise InputError(f"sample: a grid must be one row of decreasing times, got {values}")
    if values[0] > sde.t_max or values[-1] < sde.t_min:
        raise InputError(
            f"sample: the grid runs from {values[0]:g} to {values[-1]:g}, outside the process's "
            f"[{sde.t_min:g}, {sde.t_max:g}]"
        )
    return times
