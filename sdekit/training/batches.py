"""Batches in training order, read one step ahead while a GPU computes."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from sdekit.data import Batch, Dataset, batch_indices


class Batches:
    """Batches of a training run: `batches(step)` depends on the seed and the step only.

    Errors of `data.batch` are raised at the step that needs the batch, even if the batch was read ahead.

    Arguments:
        data: Data set.
        indices: Indices (N,) of the items to train on.
        batch_size: Items in a batch of all processes together.
        seed: Seed of the order.
        rows: Rows of the batch that this process reads.
        ahead: Read the next batch in a thread if the data set supports it (`Dataset.concurrent`). This helps if a GPU
            computes. On a CPU no core is free for reading, and training would take a tenth longer.
    """

    def __init__(
        self,
        data: Dataset,
        indices: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        rows: slice = slice(None),
        ahead: bool = False,
    ) -> None:
        self.data, self.indices, self.batch_size, self.seed, self.rows = data, indices, batch_size, seed, rows
        self.skipped = len(data.skipped)  # number of skipped items when the last batch was read
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sdekit-batches") if ahead and data.concurrent else None
        self._ahead: dict[int, Future[tuple[Batch, int]]] = {}

    def __call__(self, step: int) -> Batch:
        """Read the batch of a step: x (B, *shape), y (B, ...) or None."""
        if self._pool is None:
            batch, self.skipped = self._read(step)
        else:
            batch, self.skipped = (self._ahead.pop(step, None) or self._pool.submit(self._read, step)).result()
            self._ahead = {step + 1: self._pool.submit(self._read, step + 1)}
        return batch

    def _read(self, step: int) -> tuple[Batch, int]:
        items = self.indices[batch_indices(len(self.indices), self.batch_size, step, self.seed)[self.rows]]
        return self.data.batch(items), len(self.data.skipped)
