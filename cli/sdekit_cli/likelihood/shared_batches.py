"""Batches of rows that several processes compute together, written by the first one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdekit_cli.terminal.progress import progress_bar

from .partial_rows import PartialRows

if TYPE_CHECKING:
    from torch import Tensor

Compute = Callable[[slice], "Tensor"]
"""`compute(part)` returns one row of numbers for each item in a slice of the items, the item's index first."""


def compute_rows(
    compute: Compute,
    total: int,
    batch_size: int,
    out: Path,
    name: str,
    columns: Sequence[str],
    protocol: Mapping[str, Any],
    *,
    overwrite: bool,
    quiet: bool,
) -> PartialRows | None:
    """Compute the rows of all items, continuing an earlier command that was interrupted.

    If torchrun started several processes, each of them computes every k-th batch. The first one writes the rows in the
    order of the items, so that any number of processes can continue the file.

    Arguments:
        compute: Function that computes the rows of a batch.
        total: Number of items.
        batch_size: Number of items of a batch.
        out: Folder, which is created.
        name: Name of the files and of the progress bar.
        columns: Names of the columns.
        protocol: JSON-ready choices that determine the rows.
        overwrite: Whether a complete result may be replaced.
        quiet: Whether to show no progress.
    Returns:
        All rows, for `PartialRows.finish`; None in the processes other than the first one.
    Raises:
        InputError: If the folder contains a complete result and `overwrite` is false, or rows of another protocol.
    """
    from sdekit.distributed import agree, world

    here = world()
    rows = None if here.rank else PartialRows(out, name, columns, protocol, overwrite=overwrite)
    if here.size > 1:
        agree()  # all processes end here if one of them has failed
    with _ending_together(here.size), nullcontext() if rows is None else rows:
        (done,) = largest(0 if rows is None else len(rows))
        for new in _batches(compute, total, batch_size, name, done=done, quiet=quiet or rows is None):
            if rows is not None:
                rows.add(new.tolist())
    return rows


def compute_together(compute: Compute, total: int, batch_size: int, name: str, *, quiet: bool) -> Tensor | None:
    """Compute the rows of all items, which several processes share as in `compute_rows`, without writing them.

    Arguments:
        compute: Function that computes the rows of a batch.
        total: Number of items.
        batch_size: Number of items of a batch.
        name: Name for the progress bar.
        quiet: Whether to show no progress.
    Returns:
        All rows, float64 on the CPU; None in the processes other than the first one.
    """
    import torch

    from sdekit.distributed import world

    here = world()
    with _ending_together(here.size):
        parts = list(_batches(compute, total, batch_size, name, done=0, quiet=quiet or bool(here.rank)))
    return None if here.rank else torch.cat(parts)


def largest(*numbers: float) -> list[int]:
    """Return the largest of each of several whole numbers over all processes."""
    import torch

    from sdekit.distributed import gather_rows

    return [int(number) for number in gather_rows(torch.tensor([numbers], dtype=torch.float64), 1).amax(0)]


def _batches(compute: Compute, total: int, batch_size: int, name: str, *, done: int, quiet: bool) -> Iterator[Tensor]:
    """Yield the rows of all processes, a batch of each process at a time, under a progress bar."""
    import torch

    from sdekit.distributed import gather_rows, world

    here = world()
    with progress_bar(quiet=quiet) as bar:
        task = bar.add_task(name, total=total, completed=done)
        for first in range(done, total, batch_size * here.size):
            start = first + here.rank * batch_size
            own = None if start >= total else compute(slice(start, min(start + batch_size, total)))
            (width,) = largest(0 if own is None else own.shape[1])
            new = gather_rows(torch.zeros(0, width) if own is None else own, batch_size)
            done += len(new)
            bar.update(task, completed=done)
            yield new


@contextmanager
def _ending_together(processes: int) -> Iterator[None]:
    """Context manager that ends all processes if one of them fails; with one process it does nothing."""
    if processes == 1 and "WORLD_SIZE" not in os.environ:
        yield
        return
    from sdekit.distributed import in_lockstep
    from sdekit_cli.app import report_failures

    with in_lockstep(), report_failures():
        yield
