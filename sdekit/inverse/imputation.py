"""Imputation: samples of the unknown numbers of each row given its known numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdekit.arguments import check_count, check_tensor
from sdekit.errors import InputError
from sdekit.inverse.operators import LinearOperator
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Sampler

from .problem import Problem
from .replacement_sampling import ReplacementSampler
from .restoration import build_restorer, restore

IMPUTATION_METHOD = "repaint"
"""Default method, the most accurate one in equal time if some numbers are known exactly (`benchmarks/imputation.py`)."""


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


def imputation_restorer(known: Tensor, method: str = IMPUTATION_METHOD, **options: Any) -> Any:
    """Build the method that draws the unknown numbers of the rows of one batch.

    Arguments:
        known: Rows in the units of the model, (B, *shape), with NaN at unknown numbers.
        method: Registered name of a restorer: a guidance, `repaint` or `replacement`.
        options: Options of the method.
    Returns:
        A guidance or a sampler, for batches of these rows in this order.
    Raises:
        InputError: If the method is another sampler, whose state depends on one mask for all rows.
    """
    check_tensor("impute: known", known, finite=False)
    if known.ndim < 2 or not len(known):
        raise InputError(f"impute: known has shape {tuple(known.shape)}; expected rows, (B, *shape)")
    problem = Problem(RowMask(~known.isnan()), known.double())
    restorer = build_restorer(method, problem, **options)
    if isinstance(restorer, Sampler) and not isinstance(restorer, ReplacementSampler):
        raise InputError(
            f"{method} cannot impute rows with different known numbers: choose repaint, replacement, mmps or pigdm"
        )
    return restorer


def impute(
    sde: SDE,
    denoise: Denoiser,
    known: Tensor,
    *,
    seeds: Sequence[int] | None = None,
    method: str = IMPUTATION_METHOD,
    batch_size: int = 4096,
    **arguments: Any,
) -> Tensor:
    """Draw the unknown numbers of rows given their known numbers.

    Known numbers are returned unchanged. Repeat a row with several seeds for several imputations of it.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        known: Rows in the units of the model, (N, *shape), with NaN at unknown numbers.
        seeds: Seed of each row; 0 to N - 1 if None.
        method: Registered name of a restorer: a guidance, `repaint` or `replacement`.
        batch_size: Largest number of rows at a time; it does not affect the rows.
        arguments: Further arguments of `sdekit.inverse.restore`, such as `steps` and `sampler`.
    Returns:
        Complete rows, (N, *shape).
    Raises:
        InputError: If there is not one seed for each row, or the method is not suitable.
    """
    check_tensor("impute: known", known, finite=False)
    batch_size = check_count("impute: batch_size", batch_size, least=1)
    seeds = range(len(known)) if seeds is None else seeds
    if len(seeds) != len(known):
        raise InputError(f"impute: {len(seeds)} seeds for {len(known)} rows; expected one for each row")
    parts = []
    for start in range(0, len(known), batch_size):
        rows = known[start : start + batch_size]
        restorer = imputation_restorer(rows, method)
        problem = Problem(RowMask(~rows.isnan()), rows.double())
        x = restore(sde, denoise, problem, restorer, seeds=seeds[start : start + batch_size], **arguments).x
        parts.append(with_known(x, rows))
    return torch.cat(parts)


def with_known(x: Tensor, known: Tensor) -> Tensor:
    """Replace the known numbers of samples by their exact values.

    Arguments:
        x: Samples, (B, *shape).
        known: Rows in the same units, (B, *shape) or (*shape), with NaN at unknown numbers.
    Returns:
        Samples, (B, *shape).
    """
    return torch.where(known.isnan().to(x.device), x, known.to(x))
