"""Sampling under a progress bar, by one process or by several."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sdekit.distributed import gather, world
from sdekit_cli.terminal.console import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.processes import SDE
    from sdekit.runs import Run
    from sdekit.sampling import Sampler, Samples

MOST_AT_ONCE = 256


def draw(
    run: Run,
    sampler: Sampler,
    *,
    name: str,
    seeds: tuple[int, ...],
    y: Tensor | None,
    batch_size: int | None,
    quiet: bool,
    sde: SDE | None = None,
    x: Tensor | None = None,
    **arguments: Any,
) -> tuple[Samples | None, float]:
    """`sdekit.sample` of a run's model with `arguments`, and the seconds that it took. name: of the sampler.

    Of several processes each draws a part of the seeds; all samples are on rank 0, None on the others. y, x: a row for
    each seed. sde: in place of the model's own.
    """
    from sdekit.sampling import sample

    part = world().part(len(seeds))
    drawn, seconds, mine = None, 0.0, seeds[part]
    size = min(len(mine), MOST_AT_ONCE) if batch_size is None else batch_size
    calls = 0
    with progress_bar("calls", quiet=quiet) as bar:
        total = _calls(sampler, arguments)
        batches = -(-len(mine) // max(size, 1))
        task = bar.add_task(
            f"sampling {len(mine)} with {name}", total=None if total is None else batches * total, calls=""
        )

        def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            nonlocal calls
            calls += 1
            bar.update(task, advance=1, calls=f"{calls} network calls")
            result: Tensor = run.model(x, t, y)
            return result

        if mine:
            began, its_x, its_y = time.monotonic(), *(None if rows is None else rows[part] for rows in (x, y))
            given = arguments | {"shape": run.recipe.shape, "seeds": mine, "batch_size": size, "x": its_x, "y": its_y}
            drawn = sample(sde or run.model.sde, denoise, sampler, **given)
            seconds = time.monotonic() - began
    return gather(drawn, seeds, run.recipe.shape), seconds


def _calls(sampler: Sampler, arguments: dict[str, Any]) -> int | None:
    """Network calls of one batch, where the sampler tells before it has run."""
    from torch import Tensor

    if sampler.calls_per_step is None:
        return None
    nfe, steps, grid = (arguments.get(name) for name in ("nfe", "steps", "grid"))
    length = (nfe - 1) // sampler.calls_per_step + 1 if nfe else steps or sampler.default_steps
    length = len(grid) if isinstance(grid, Tensor) else length
    return (length - 1) * sampler.calls_per_step + 1
