"""The batches of a run in order. Reading the next one overlaps with the step under way."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from sdekit.data import Batch, Dataset, batch_indices


class Batches:
    """`batches(step)`: what a step is trained on, a function of (seed, step) alone, whoever reads it and when.

    indices: (N,) the items to train on. ahead: a thread reads one step ahead, of data that bear it (`concurrent`).
    This helps where a GPU computes; on the CPU the cores have no time to spare, and it takes a tenth more there.
    skipped: how many items had been passed over when the last batch was read.
    What `data.batch` raises is raised at the step whose batch it is.
    """

    def __init__(self, data: Dataset, indices: np.ndarray, batch_size: int, seed: int, *, ahead: bool = False) -> None:
        self.data, self.indices, self.batch_size, self.seed = data, indices, batch_size, seed
        self.skipped = len(data.skipped)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sdekit-batches") if ahead and data.concurrent else None
        self._ahead: dict[int, Future[tuple[Batch, int]]] = {}

    def __call__(self, step: int) -> Batch:
        """The batch of a step: x (B, *shape), y (B, ...) or None."""
        if self._pool is None:
            batch, self.skipped = self._read(step)
        else:
            batch, self.skipped = (self._ahead.pop(step, None) or self._pool.submit(self._read, step)).result()
            self._ahead = {step + 1: self._pool.submit(self._read, step + 1)}
        return batch

    def _read(self, step: int) -> tuple[Batch, int]:
        chosen = self.indices[batch_indices(len(self.indices), self.batch_size, step, self.seed)]
        return self.data.batch(chosen), len(self.data.skipped)
