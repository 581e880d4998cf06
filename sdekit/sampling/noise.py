"""Noise keyed by seed: the draws of sample i depend on seed i alone."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from sdekit.arguments import check_device, check_dtype, check_shape, describe_value
from sdekit.errors import InputError


class Noise(Protocol):
    """Source of noise: `noise(t, s)` is (B, *) standard normal, independent for disjoint steps from t to s."""

    def __call__(self, t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        """Return the noise of the step from t to s, (B, *)."""
        ...


def check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Check that seeds are whole numbers in [0, 2^32).

    torch's CPU generator keeps only 32 bits of a seed, so that larger seeds would repeat.

    Arguments:
        seeds: Seeds, one per sample.
    Returns:
        The seeds.
    Raises:
        InputError: If a seed is not a whole number in this range.
    """
    try:
        whole = tuple(map(operator.index, seeds)) if not isinstance(seeds, (str, bytes)) else None
    except TypeError:
        whole = None
    if whole is None:
        raise InputError(f"seeds must be whole numbers, got {describe_value(seeds)}")
    for seed in whole:
        if not 0 <= seed < 2**32:
            raise InputError(f"seeds must be between 0 and 2^32 - 1, got {seed}")
    return whole


class SeedNoise:
    """Noise in which draw j of sample i depends only on (seeds[i], j), not on the batch, the order or the device.

    Each sample has a generator on the CPU. It draws in float32; the result is then moved and cast, so that CPU, GPU and
    all dtypes have the same values up to the cast.

    Arguments:
        seeds: One seed per sample, in [0, 2^32).
        shape: Shape of one sample, without the batch.
        dtype: Dtype of the noise.
        device: Device of the noise.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        check_dtype("SeedNoise: dtype", dtype)
        self.shape, self.dtype = check_shape("SeedNoise: shape", shape, least_axes=0), dtype
        self.device = check_device("SeedNoise", device)
        self.seeds, self._skipped = check_seeds(seeds), 0

    def __call__(self, t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        """Return the next draw, (B, *shape); the times are not used."""
        on_gpu = self.device.type == "cuda"  # from pinned memory the copy does not wait for the GPU
        z = torch.empty(len(self.seeds), *self.shape, dtype=torch.float32, pin_memory=on_gpu)
        for row, generator in zip(z.unbind(), self._generators, strict=True):
            for _ in range(self._skipped + 1):
                row.normal_(generator=generator)
        self._skipped = 0
        return z.to(self.device, self.dtype, non_blocking=on_gpu)

    def skip(self) -> None:
        """Skip one draw; its numbers are computed only if another draw follows."""
        self._skipped += 1

    @cached_property
    def _generators(self) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]
