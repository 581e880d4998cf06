"""Images under little noise, mirrored and turned: what is known of them there is local, not a training image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdekit.runs import TrainOptions

from .step_seeds import seed_from

SYMMETRIES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x,
    lambda x: x.flip(-1),
    lambda x: x.flip(-2),
    lambda x: x.rot90(2, (-2, -1)),
    lambda x: x.transpose(-2, -1),
    lambda x: x.rot90(1, (-2, -1)),
    lambda x: x.rot90(-1, (-2, -1)),
    lambda x: x.rot90(2, (-2, -1)).transpose(-2, -1),
)
"""The eight of a square; the first four are those of a rectangle."""


def augment(
    rho: Tensor,
    options: TrainOptions,
    step: int,
    x0: Tensor,
    eps: Tensor,
    mean: Tensor | None,
    rows: slice = slice(None),
) -> tuple[Tensor, Tensor, Tensor | None]:
    """x0, eps and mean of a step, each row under a symmetry with probability 1 / (1 + (rho / options.turn_below)^4).

    rho: (B,) noise levels. x0, eps and mean, where it is known: (B, C, H, W). A row of all three is moved alike, so
    that an image, its noise and its posterior mean remain each other's. A function of (seed, step), on the CPU.
    rows: of the global batch that x0 has.
    """
    if not options.turn_below:
        return x0, eps, mean
    generator = torch.Generator().manual_seed(seed_from(options.seed, 5, step))
    chance = 1 / (1 + (rho / options.turn_below) ** 4)
    n = len(rho) if rows == slice(None) else options.batch_size
    moved = torch.rand(n, generator=generator, dtype=torch.float64)[rows] < chance
    which = torch.randint(len(SYMMETRIES), (n,), generator=generator)[rows] * moved
    return _under(which, x0), _under(which, eps), None if mean is None else _under(which, mean)


def _under(which: Tensor, x: Tensor) -> Tensor:
    known = SYMMETRIES if x.shape[-1] == x.shape[-2] else SYMMETRIES[:4]
    moved = x.clone()
    for i, symmetry in enumerate(known[1:], 1):
        rows = which % len(known) == i
        moved[rows] = symmetry(x[rows])
    return moved
