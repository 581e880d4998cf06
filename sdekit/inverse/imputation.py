"""Imputation: samples of the unknown numbers of each row given its known numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdekit.arguments import check_count, check_tensor
from sdekit.data import splitmix64
from sdekit.errors import InputError
from sdekit.inverse.operators import SVD, LinearOperator
from sdekit.models import Condition
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Progress, Samples

from .problem import Problem
from .restoration import build_restorer, restore

IMPUTATION_METHOD = "tds"
"""Default method. `replacement` and `repaint` are faster, but give wrong weights to separate modes."""
ROWS_AT_ONCE = 4096
"""Default batch size."""


class RowMask(LinearOperator):
    """A x = keep x with another mask for each row of a batch.

    Row i of a batch has mask i, so that a batch must have as many rows as there are masks, or one row.

    Arguments:
        keep: Masks, (B, *shape); not 0 at numbers that are known.
    """

    def __init__(self, keep: Tensor) -> None:
        self.keep = (keep != 0).double()
        self.shape = self.measured = tuple(keep.shape[1:])

    def check(self, y: Tensor) -> Tensor:
        """Return the known numbers (B, *shape), with 0 at unknown ones."""
        return torch.where(self.keep > 0, y, 0)

    def apply(self, x: Tensor) -> Tensor:
        return self.keep[: len(x)].to(x) * x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.apply(y)

    def counts(self, x: Tensor) -> Tensor:
        return self.keep[: len(x)].flatten(1).sum(1).to(x)

    def svd(self) -> SVD:
        raise InputError("this method needs one mask for all rows, and cannot impute rows: choose tds, mmps or pigdm")


class JoinedProgress:
    """Progress of several calls of `sample` as one.

    Arguments:
        progress: Function `progress(done, total)` of the network evaluations of all calls.
        calls: Number of calls, each of the same length.
    """

    def __init__(self, progress: Progress, calls: int) -> None:
        self.progress, self.calls = progress, calls
        self.before = self.done = 0

    def start_call(self) -> None:
        """Start the next call."""
        self.before += self.done
        self.done = 0

    def __call__(self, done: int, total: int | None) -> None:
        """Report the network evaluations of the present call."""
        self.done = done
        self.progress(self.before + done, None if total is None else self.calls * total)


def imputation_problem(known: Tensor) -> Problem:
    """Return the inverse problem of one batch of rows of which different numbers are known exactly.

    Arguments:
        known: Rows in the units of the model, (B, *shape), with NaN at unknown numbers.
    Returns:
        The problem, for batches of these rows in this order.
    Raises:
        InputError: If `known` is not a tensor of rows.
    """
    check_tensor("impute: known", known, finite=False)
    if known.ndim < 2 or not len(known):
        raise InputError(f"impute: known has shape {tuple(known.shape)}; expected rows, (B, *shape)")
    return Problem(RowMask(~known.isnan()), known.double())


def row_seeds(seeds: Sequence[int], rows: Sequence[int]) -> list[int]:
    """Return the seed of each row of a table that is imputed with a common seed.

    Arguments:
        seeds: Seed of the table for each row, in [0, 2^32).
        rows: Number of each row in the table, in [0, 2^32).
    Returns:
        Seeds in [0, 2^32), a hash of both numbers, so that a row has the same seed whatever other rows there are.
    """
    pairs = np.asarray(seeds, dtype=np.uint64) * np.uint64(2**32) + np.asarray(rows, dtype=np.uint64)
    hashes: list[int] = (splitmix64(pairs) >> np.uint64(32)).tolist()
    return hashes


def impute(
    sde: SDE,
    denoise: Denoiser,
    known: Tensor,
    *,
    seeds: Sequence[int] | None = None,
    method: str = IMPUTATION_METHOD,
    options: Mapping[str, Any] | None = None,
    y: Tensor | Condition | None = None,
    batch_size: int = ROWS_AT_ONCE,
    progress: bool | Progress = False,
    **arguments: Any,
) -> Samples:
    """Draw the unknown numbers of rows given their known numbers.

    Known numbers are returned unchanged. Repeat a row with several seeds for several imputations of it.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        known: Rows in the units of the model, (N, *shape), with NaN at unknown numbers.
        seeds: Seed of each row; 0 to N - 1 if None.
        method: Registered name of a restorer that needs no singular values of the mask.
        options: Options of the method.
        y: Conditions of the rows, (N, ...), or None.
        batch_size: Largest number of rows at a time; it does not affect the rows.
        progress: Whether to show a progress bar for each batch, or a function `progress(done, total)` of the network
            evaluations of all batches, see `sdekit.sample`.
        arguments: Further arguments of `sdekit.inverse.restore`, such as `steps` and `sampler`.
    Returns:
        Samples of which `x` are the complete rows, (N, *shape).
    Raises:
        InputError: If there is not one seed for each row, or the method is not suitable.
    """
    imputation_problem(known)  # checks the rows
    batch_size = check_count("impute: batch_size", batch_size, least=1)
    seeds = range(len(known)) if seeds is None else seeds
    if len(seeds) != len(known):
        raise InputError(f"impute: {len(seeds)} seeds for {len(known)} rows; expected one for each row")
    if not isinstance(progress, bool):
        progress = JoinedProgress(progress, calls=-(-len(known) // batch_size))
    parts = []
    for start in range(0, len(known), batch_size):
        part = slice(start, start + batch_size)
        problem = imputation_problem(known[part])
        restorer = build_restorer(method, problem, **(options or {}))
        conditions = None if y is None else y[part]
        if isinstance(progress, JoinedProgress):
            progress.start_call()
        drawn = restore(
            sde, denoise, problem, restorer, seeds=seeds[part], y=conditions, progress=progress, **arguments
        )
        parts.append(replace(drawn, x=with_known(drawn.x, known[part])))
    nfe = max(part.nfe for part in parts)
    return replace(parts[0], x=torch.cat([part.x for part in parts]), nfe=nfe, seeds=tuple(seeds), y=y)


def with_known(x: Tensor, known: Tensor) -> Tensor:
    """Replace the known numbers of samples by their exact values.

    Arguments:
        x: Samples, (B, *shape).
        known: Rows in the same units, (B, *shape) or (*shape), with NaN at unknown numbers.
    Returns:
        Samples, (B, *shape).
    """
    return torch.where(known.isnan().to(x.device), x, known.to(x))
