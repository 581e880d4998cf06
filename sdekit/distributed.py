"""Several processes, one result: under torchrun each draws a part of the seeds, and rank 0 tells and writes.

All that passes between processes are numbers and text, over gloo on the CPU; a GPU's samples are moved there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from .errors import SdekitError

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.sampling import Samples

LONGEST_MESSAGE = 4096
PATIENCE = timedelta(days=30)  # for a slower process; torchrun ends the others where one dies


@dataclass(frozen=True)
class World:
    """This process among those that torchrun started. local: its number on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0

    def part(self, n: int) -> slice:
        """This rank's share of n items, in order; rank 0 has one at least."""
        first, end = (-(-rank * n // self.size) for rank in (self.rank, self.rank + 1))
        return slice(first, end)


def world() -> World:
    """What torchrun says in the environment; alone where it says nothing."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        return World()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return World(rank, size, int(os.environ.get("LOCAL_RANK", rank)))


class Elsewhere(SdekitError):
    """Another process failed."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def together() -> Iterator[None]:
    """What all processes of `world()` do together: where one fails, all end with its error; then call `leave`.

    Raises `Elsewhere`, with the message, on those that did not fail themselves. Alone it does nothing.
    """
    if world().size == 1:
        yield
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    except Elsewhere:
        raise
    except BaseException as error:
        done = isinstance(error, SystemExit) and not error.code
        _agree(None if done else error)
        raise
    _agree(None)


def leave() -> None:
    """Wait until all processes are here: torchrun ends the others when the first one exits with an error."""
    if world().size == 1:
        return
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def gather(drawn: Samples | None, seeds: Sequence[int], shape: Sequence[int]) -> Samples | None:
    """All samples on rank 0 in the order of all the seeds, without trajectory; None on the others. Within `together`.

    drawn: the samples of `seeds[world().part(len(seeds))]`, None where that is empty. shape: of one sample.
    """
    import torch
    import torch.distributed as dist

    here = world()
    if here.size == 1 or not dist.is_initialized():
        return drawn
    _agree(None)
    calls = torch.tensor(0 if drawn is None else drawn.nfe)
    dist.all_reduce(calls, dist.ReduceOp.MAX)
    if here.rank:
        if drawn is not None:
            dist.send(drawn.x.float().cpu().contiguous(), 0)
        return None
    assert drawn is not None
    x = torch.empty(len(seeds), *shape)
    x[here.part(len(seeds))] = drawn.x.float().cpu()
    for rank in range(1, here.size):
        part = World(rank, here.size).part(len(seeds))
        if part.stop > part.start:
            dist.recv(x[part], rank)
    return replace(drawn, x=x, nfe=int(calls), seeds=tuple(seeds), trajectory=None)


def _agree(error: BaseException | None) -> None:
    """Tell all processes whether this one failed, and hear of them; raises `Elsewhere` where only another did."""
    import torch
    import torch.distributed as dist

    here, told = world(), _packed(error)
    heard = [torch.empty_like(told) for _ in range(here.size)]
    dist.all_gather(heard, told)
    if error is not None:
        return
    for rank, one in enumerate(heard):
        code, length = one[:2].tolist()
        if length:
            message = bytes(one[2 : 2 + length].tolist()).decode(errors="replace")
            raise Elsewhere(f"process {rank} of {here.size}: {message}", code)


def _packed(error: BaseException | None) -> Tensor:
    """Exit code, length and bytes of a message; length 0 for none."""
    import torch

    told = torch.zeros(2 + LONGEST_MESSAGE, dtype=torch.int64)
    if error is not None:
        text = str(error) if isinstance(error, SdekitError) else f"{type(error).__name__}: {error}"
        message = text.encode()[:LONGEST_MESSAGE]
        code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1)
        told[:2] = torch.tensor([code if isinstance(code, int) else 1, len(message)])
        told[2 : 2 + len(message)] = torch.tensor(list(message))
    return told
