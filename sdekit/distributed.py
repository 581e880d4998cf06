"""Several processes that work on one result, started by torchrun.

In sampling each process draws a part of the seeds, and in training each computes a part of every batch. Process 0
reports and writes. Messages between processes are numbers and text, sent by gloo from the CPU.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .errors import ProcessLost, SdekitError

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.sampling import Samples

LONGEST_MESSAGE = 4096
PATIENCE = timedelta(days=30)  # waiting time for a slower process; torchrun ends the others if one dies
_store: Any = None  # key-value store of all processes, set by `together`


@dataclass(frozen=True)
class World:
    """This process among the processes that torchrun started.

    Arguments:
        rank: Number of this process.
        size: Number of processes.
        local: Number of this process on its machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    def part(self, n: int) -> slice:
        """Return this process's share of n items, in order; process 0 has at least one."""
        first, end = (-(-rank * n // self.size) for rank in (self.rank, self.rank + 1))
        return slice(first, end)


def world() -> World:
    """Return the place of this process, read from the environment variables of torchrun.

    Returns:
        `World()`, a single process, unless torchrun started this process.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        return World()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return World(rank, size, int(os.environ.get("LOCAL_RANK", rank)))


class Elsewhere(SdekitError):
    """Error of another process, raised in the processes that did not fail.

    Arguments:
        message: Message of the other process.
        exit_code: Exit code of the other process.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def together() -> Iterator[None]:
    """Context manager for work that all processes of `world()` do together; call `leave` after it.

    If one process fails, all of them end with its error. With a single process, this context manager does nothing.

    Raises:
        Elsewhere: In the processes that did not fail themselves, with the message of the one that did.
    """
    if world().size == 1:
        yield
        return
    # torch warns about `find_unused_parameters`, see engines/ddp.py; this works only before torch is imported.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import torch.distributed as dist

    # These functions have the process group at the time of their import as a default. Imported later, they keep the
    # threads of the group running after `leave`, and a thread that runs at the end of the interpreter may abort it.
    from torch.distributed.nn import functional  # noqa: F401
    from torch.distributed.rendezvous import rendezvous

    global _store
    _store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    dist.init_process_group("gloo", store=_store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield
    except Elsewhere:
        raise
    except BaseException as error:
        success = isinstance(error, SystemExit) and not error.code
        agree(None if success else error)
        raise
    agree()


@contextmanager
def in_lockstep() -> Iterator[None]:
    """Context manager for work in which the processes wait for each other at many places, as in training.

    A process that fails cannot send its error to the others there, since they wait for other messages. It prints the
    error and ends at once. This closes its connections, so that the others end too. Only the first process that fails
    prints a message. With a single process, this context manager does nothing.
    """
    if world().size == 1:
        yield
        return
    try:
        yield
        agree()
    except BaseException as error:
        if not isinstance(error, (SystemExit, KeyboardInterrupt)) and _is_first_failure():
            if isinstance(error, SdekitError):
                print(f"error: process {world().rank} of {world().size}: {error}", file=sys.__stderr__)
            else:
                traceback.print_exception(error, file=sys.__stderr__)
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(_exit_code(error))  # a normal exit would wait for messages of the others


def leave() -> None:
    """Wait until all processes call `leave`, because torchrun ends the others when one exits with an error."""
    if world().size == 1:
        return
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def gather(samples: Samples | None, seeds: Sequence[int], shape: Sequence[int]) -> Samples | None:
    """Collect the samples of all processes in process 0, inside `together`.

    Arguments:
        samples: Samples of the seeds `seeds[world().part(len(seeds))]`; None if there are none.
        seeds: Seeds of all processes.
        shape: Shape of one sample.
    Returns:
        All samples in the order of the seeds, without a trajectory; None in the other processes.
    """
    import torch
    import torch.distributed as dist

    here = world()
    if here.size == 1 or not dist.is_initialized():
        return samples
    agree()
    calls = torch.tensor(0 if samples is None else samples.nfe)
    dist.all_reduce(calls, dist.ReduceOp.MAX)
    if here.rank:
        if samples is not None:
            dist.send(samples.x.float().cpu().contiguous(), 0)
        return None
    assert samples is not None
    x = torch.empty(len(seeds), *shape)
    x[here.part(len(seeds))] = samples.x.float().cpu()
    for rank in range(1, here.size):
        part = World(rank, here.size).part(len(seeds))
        if part.stop > part.start:
            dist.recv(x[part], rank)
    return replace(samples, x=x, nfe=int(calls), seeds=tuple(seeds), trajectory=None)


def gather_rows(rows: Tensor, most: int) -> Tensor:
    """Collect the rows of all processes in every process, inside `together`.

    Arguments:
        rows: Rows of numbers (B, d); d is the same in all processes.
        most: Largest number of rows of a process.
    Returns:
        All rows in the order of the processes, float64 on the CPU.
    """
    import torch
    import torch.distributed as dist

    here = world()
    if here.size == 1 or not dist.is_initialized():
        return rows.double().cpu()
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(here.size)]
    dist.all_gather(counts, torch.tensor([len(rows)]))
    padded = torch.zeros(most, rows.shape[1], dtype=torch.float64)
    padded[: len(rows)] = rows.cpu()
    parts = [torch.empty_like(padded) for _ in range(here.size)]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])


def agree(error: BaseException | None = None) -> None:
    """Wait for all processes, and find out whether one of them has failed.

    Arguments:
        error: Error of this process, which the others then raise too.
    Raises:
        Elsewhere: If another process failed, and this one did not.
        ProcessLost: If another process has ended.
    """
    import torch
    import torch.distributed as dist

    here, packed = world(), _packed(error)
    messages = [torch.empty_like(packed) for _ in range(here.size)]
    try:
        dist.all_gather(messages, packed)
    except RuntimeError as lost:
        raise ProcessLost(f"another of the {here.size} processes ended while this one waited for it") from lost
    if error is not None:
        return
    for rank, message in enumerate(messages):
        code, length = message[:2].tolist()
        if length:
            text = bytes(message[2 : 2 + length].tolist()).decode(errors="replace")
            raise Elsewhere(f"process {rank} of {here.size}: {text}", code)


def _packed(error: BaseException | None) -> Tensor:
    """Return the exit code, the length and the bytes of an error message; the length is 0 without an error."""
    import torch

    packed = torch.zeros(2 + LONGEST_MESSAGE, dtype=torch.int64)
    if error is not None:
        text = str(error) if isinstance(error, SdekitError) else f"{type(error).__name__}: {error}"
        message = text.encode()[:LONGEST_MESSAGE]
        packed[:2] = torch.tensor([_exit_code(error), len(message)])
        packed[2 : 2 + len(message)] = torch.tensor(list(message))
    return packed


def _exit_code(error: BaseException) -> int:
    """Return the exit code of a process that ends with an error."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1)
    return code if isinstance(code, int) else 1


def _is_first_failure() -> bool:
    """Return whether this process is the first to report a failure, according to a counter in torchrun's store."""
    try:
        return _store is None or bool(_store.add("sdekit/failures", 1) == 1)
    except RuntimeError:  # the store ended with the process that served it: a second message is better than none
        return True
