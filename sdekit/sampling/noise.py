"""Noise keyed by seed: what sample i draws depends on seed i alone."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from sdekit.errors import InputError


class Noise(Protocol):
    """`noise(t, s) -> (B, *)` standard normal, for the step from t to s; independent for disjoint steps."""

    def __call__(self, t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        """(B, *) standard normal."""
        ...


def check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds; InputError outside of [0, 2^32): torch's CPU generator keeps 32 bits, so that others would repeat."""
    try:
        whole = tuple(map(operator.index, seeds))
    except TypeError:
        raise InputError(f"seeds must be whole numbers, got {seeds!r}") from None
    for seed in whole:
        if not 0 <= seed < 2**32:
            raise InputError(f"seeds must be between 0 and 2^32 - 1, got {seed}")
    return whole


class SeedNoise:
    """Draw j of sample i is a function of (seeds[i], j): the same in any batch, any order, and on any device.

    Each sample owns a generator on the CPU, drawn in float32 and then moved and cast, so that the bits agree between
    CPU and GPU and between dtypes up to the cast. shape: one sample's, without the batch.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.dtype, self.device = tuple(shape), dtype, torch.device(device)
        self.seeds, self._skipped = check_seeds(seeds), 0

    def __call__(self, t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        """The next draw, (B, *shape)."""
        on_gpu = self.device.type == "cuda"  # from pinned memory the copy does not wait for the GPU
        z = torch.empty(len(self.seeds), *self.shape, pin_memory=on_gpu)
        for row, generator in zip(z.unbind(), self._generators, strict=True):
            for _ in range(self._skipped + 1):
                row.normal_(generator=generator)
        self._skipped = 0
        return z.to(self.device, self.dtype, non_blocking=on_gpu)

    def skip(self) -> None:
        """Leave out one draw; it is made only if another one follows."""
        self._skipped += 1

    @cached_property
    def _generators(self) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]
