"""Sampling under a progress bar."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .console import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.sampling import Sampler, Samples
    from sdekit.training.run import Run

MOST_AT_ONCE = 256


def draw(
    run: Run,
    sampler: Sampler,
    *,
    name: str,
    seeds: tuple[int, ...],
    batch_size: int | None,
    quiet: bool,
    **arguments: Any,
) -> tuple[Samples, float]:
    """`sdekit.sample` of a run's model with `arguments`, and the seconds that it took. name: of the sampler."""
    from sdekit.sampling import sample

    size = min(len(seeds), MOST_AT_ONCE) if batch_size is None else batch_size
    calls = 0
    with progress_bar("calls", quiet=quiet) as bar:
        total = _calls(sampler, arguments)
        batches = -(-len(seeds) // size)
        task = bar.add_task(
            f"sampling {len(seeds)} with {name}", total=None if total is None else batches * total, calls=""
        )

        def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            nonlocal calls
            calls += 1
            bar.update(task, advance=1, calls=f"{calls} network calls")
            result: Tensor = run.model(x, t, y)
            return result

        began = time.monotonic()
        drawn = sample(
            run.model.sde, denoise, sampler, shape=run.recipe.shape, seeds=seeds, batch_size=size, **arguments
        )
        return drawn, time.monotonic() - began


def _calls(sampler: Sampler, arguments: dict[str, Any]) -> int | None:
    """Network calls of one batch, where the sampler tells before it has run."""
    from torch import Tensor

    if sampler.calls is None:
        return None
    nfe, steps, grid = (arguments.get(name) for name in ("nfe", "steps", "grid"))
    length = (nfe - 1) // sampler.calls + 1 if nfe else steps or sampler.default_steps
    length = len(grid) if isinstance(grid, Tensor) else length
    return (length - 1) * sampler.calls + 1
