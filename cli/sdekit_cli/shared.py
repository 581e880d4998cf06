"""Drawing by several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdekit.distributed import gather, world

from .draw import draw

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.sampling import Sampler, Samples
    from sdekit.training.run import Run


def draw_shared(
    run: Run, sampler: Sampler, *, seeds: tuple[int, ...], y: Tensor | None, **arguments: Any
) -> tuple[Samples | None, float]:
    """`draw` of this process's part of the seeds; all samples on rank 0, None on the others. Alone it is `draw`."""
    part = world().part(len(seeds))
    drawn, seconds = None, 0.0
    if seeds[part]:
        drawn, seconds = draw(run, sampler, seeds=seeds[part], y=None if y is None else y[part], **arguments)
    return gather(drawn, seeds, run.recipe.shape), seconds
