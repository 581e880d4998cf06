"""The sampling loop."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import (
    Guidance,
    SamplingContext,
    compose,
    count_calls,
    guidance_cost,
    resolve_guidance,
)
from sdekit.models import Condition
from sdekit.processes import SDE, Denoiser
from sdekit.registry import resolve

from .brownian import Brownian
from .diagnostics import with_diagnostics
from .noise import SeedNoise, check_seeds
from .sampler import Grid, Sampler


@dataclass(frozen=True)
class Samples:
    """What `sample` returns.

    x: (n, *shape) samples of x_0 in the model's units. nfe: network calls that each sample took (the most of any
    batch). seeds: (n). times: the grid, (steps,), float64. trajectory: (steps + 1, n, *shape), x at each time and
    then x_0, where asked for, else None.
    """

    x: Tensor
    nfe: int
    seeds: tuple[int, ...]
    times: Tensor
    trajectory: Tensor | None = field(default=None, repr=False)


@torch.no_grad()
def sample(
    sde: SDE,
    denoise: Denoiser,
    sampler: Sampler | str,
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
) -> Samples:
    """Draw samples of x_0: from t_max along the grid to t_min, then one denoising to x_0.

    sampler, grid: an object or a registered name; grid may also be the times themselves, decreasing. shape: of one
    sample. n: how many, seeds 0 to n - 1; or the seeds themselves. x: (n, *shape) at the grid's first time, in place
    of the prior's at t_max. steps: network calls of a method of one call a step (steps - 1 steps and the denoising).
    nfe: instead of steps, the most calls allowed; takes the most steps that fit. y: (n, ...) conditions. guidance:
    functions of (sde, denoise), or registered names, the first one innermost; calls are counted at the network.
    batch_size: at most so many at a time; it changes no sample. noise: of a sampler that draws any; "seed" numbers each
    seed's draws, "brownian" gives each seed a path that is the same at any number of steps. Raises InputError for
    arguments that do not fit, SdekitError where the denoiser fails.
    """
    method: Sampler = resolve("sampler", sampler)
    if noise is not None and not method.stochastic:
        raise InputError(f"sample: {type(method).__name__} draws no noise: leave out noise={noise!r}, or take another")
    seeds = _seeds(n, seeds, x)
    if y is not None and not isinstance(y, Tensor | Condition):
        raise InputError(f"sample: y must be a tensor (n, ...) or a Condition, got {type(y).__name__}")
    if y is not None and tuple(y.shape[:1]) != (len(seeds),):
        raise InputError(f"sample: y has shape {tuple(y.shape)}, expected one condition a sample, {len(seeds)} in all")
    y = None if y is None else y.to(device)
    guides, each = resolve_guidance(guidance), 1
    if guides and nfe is not None:
        each = guidance_cost(sde, guides, torch.zeros(1, *shape, dtype=dtype, device=device), y)
    times = _times(sde, method, steps, nfe, grid, each)
    if x is None and times[0] < sde.t_max * (1 - 1e-6):
        raise InputError(
            f"sample: the grid starts at t = {times[0]:g}, below t_max = {sde.t_max:g}, where the prior is not the "
            "distribution of x: give x, or start at t_max"
        )
    shape = tuple(shape)
    if x is not None and tuple(x.shape) != (len(seeds), *shape):
        raise InputError(f"sample: x has shape {tuple(x.shape)}, expected {(len(seeds), *shape)}")
    batch_size = len(seeds) if batch_size is None else batch_size
    if batch_size < 1:
        raise InputError(f"sample: batch_size must be at least 1, got {batch_size}")
    batch_size = 1 if method.requires_single_sample else batch_size
    paths, calls = [], 0
    for start in range(0, len(seeds), batch_size):
        part = slice(start, start + batch_size)

        def run(denoise: Denoiser, guides: list[Guidance], part: slice = part) -> tuple[list[Tensor], int]:
            draws = _noise(noise or method.default_noise, sde, seeds[part], shape, dtype, device)
            if x is None:
                x_t = sde.prior(draws())
            else:  # the first draw is that of the prior, which x may have come from
                draws.skip()
                x_t = x[part].to(device, dtype)
            context, path = SamplingContext(times, adaptive=method.calls_per_step is None), [x_t]
            bound = _bound(sde, denoise, guides, None if y is None else y[part])
            with context.active():
                for x_s in method.trajectory(sde, bound, x_t, times, draws):
                    path = [*path, x_s] if trajectory else [x_s]
                path.append(bound(path[-1], times[-1]))
            return path, context.evaluations

        path, made = with_diagnostics(run, denoise, guides, seeds[part])
        paths.append(torch.stack(path) if trajectory else path[-1])
        calls = max(calls, made)
    whole = torch.cat(paths, int(trajectory)) if len(paths) > 1 else paths[0]
    return Samples(whole[-1] if trajectory else whole, calls, seeds, times, whole if trajectory else None)


def _noise(
    kind: str, sde: SDE, seeds: Sequence[int], shape: Sequence[int], dtype: torch.dtype, device: torch.device | str
) -> SeedNoise | Brownian:
    if kind == "brownian":
        return Brownian(sde, seeds, shape, dtype=dtype, device=device)
    if kind != "seed":
        raise InputError(f"sample: noise must be 'seed' or 'brownian', got {kind!r}")
    return SeedNoise(seeds, shape, dtype=dtype, device=device)


def _bound(sde: SDE, denoise: Denoiser, guides: list[Guidance], y: Tensor | Condition | None) -> Denoiser:
    """The denoiser as a sampler calls it: guided, and with its condition."""
    whole = count_calls(denoise)
    if guides:
        whole = compose(sde, whole, guides)
    return whole if y is None else lambda x, t: whole(x, t, y)


def _seeds(n: int | None, seeds: Sequence[int] | None, x: Tensor | None) -> tuple[int, ...]:
    if seeds is None:
        n = n if n is not None else len(x) if x is not None else None
        if n is None or n < 1:
            raise InputError(f"sample: say how many samples (n, at least 1) or which (seeds), got n={n}")
        return tuple(range(n))
    if n is not None and n != len(seeds):
        raise InputError(f"sample: n={n} but {len(seeds)} seeds: give one of them")
    if not len(seeds):
        raise InputError("sample: seeds is empty")
    return check_seeds(seeds)


def _times(
    sde: SDE, sampler: Sampler, steps: int | None, nfe: int | None, grid: Grid | str | Tensor | None, each: int
) -> Tensor:
    """The times at which the sampler stops, t_max first. each: network calls of one denoising."""
    for name, number in (("steps", steps), ("nfe", nfe)):
        if number is not None and not hasattr(number, "__index__"):
            raise InputError(f"sample: {name} must be a whole number, got {number!r}")
    if grid is not None and not (isinstance(grid, str | Tensor) or callable(grid)):
        raise InputError(f"sample: grid must be a name, a function of (sde, n) or a tensor of times, got {grid!r}")
    if isinstance(grid, Tensor):
        if steps is not None or nfe is not None:
            raise InputError("sample: a grid of explicit times already says how many steps: leave steps and nfe out")
        return _check_times(sde, grid.to("cpu", torch.float64))
    if steps is not None and nfe is not None:
        raise InputError(f"sample: steps={steps} and nfe={nfe} both given: choose one")
    if nfe is not None:
        steps = sampler.steps_for(nfe, each)
    steps = sampler.default_steps if steps is None else steps
    if steps < 1:
        raise InputError(f"sample: steps must be at least 1, got {steps}")
    chosen = sampler.build_default_grid() if grid is None else resolve("grid", grid)
    times: Tensor = chosen(sde, steps - 1) if steps > 1 else torch.tensor([sde.t_max], dtype=torch.float64)
    return _check_times(sde, times)


def _check_times(sde: SDE, times: Tensor) -> Tensor:
    each = times.tolist()  # as numbers: a comparison of tensors takes longer than this one of fifty floats
    if times.ndim != 1 or not each or not all(map(math.isfinite, each)) or not all(map(operator.gt, each, each[1:])):
        raise InputError(f"sample: a grid must be one row of decreasing times, got {each}")
    if each[0] > sde.t_max or each[-1] < sde.t_min:
        raise InputError(
            f"sample: the grid runs from {each[0]:g} to {each[-1]:g}, outside of the process's "
            f"[{sde.t_min:g}, {sde.t_max:g}]"
        )
    return times
