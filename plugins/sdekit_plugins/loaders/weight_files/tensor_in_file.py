"""A tensor that is read from its file when it is used, so that a file is never in memory twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .inert_pickle import Region

SHARE = 50
"""A file is mapped again after each fiftieth of its bytes."""
LEAST = 2**20
"""Least number of bytes before a file is mapped again."""


class MappedFile:
    """A file that is mapped into memory.

    All pages that were read from a mapping stay in memory until no tensor uses it, even if the other tensors were
    converted. The file is therefore mapped again from time to time. A mapping of its own for each tensor would be
    simpler, but the number of mappings of a process is limited.

    Arguments:
        path: The file.
        size: Its size in bytes.
    """

    def __init__(self, path: str, size: int) -> None:
        self.path, self.size = path, size
        self.storage: Any = None
        self.used = 0

    def load(self, start: int, count: int, dtype: torch.dtype) -> Tensor:
        """Return `count` numbers from the byte `start`, a multiple of the size of a number. Changes stay in memory."""
        if self.storage is None or self.used > max(LEAST, self.size // SHARE):
            self.storage, self.used = torch.UntypedStorage.from_file(self.path, False, self.size), 0
        self.used += count * dtype.itemsize
        return torch.empty(0, dtype=dtype).set_(self.storage, start // dtype.itemsize, (count,), (1,))


@dataclass(eq=False)
class Storage:
    """Numbers of one or several tensors in a file.

    Arguments:
        dtype: Type of the numbers.
        size: How many numbers.
        region: Their place in the file, once it is known.
        file: The file to map into memory; None to read it.
    """

    dtype: torch.dtype
    size: int
    region: Region | None = None
    file: MappedFile | None = None

    def load(self, first: int, count: int) -> Tensor:
        """Return `count` numbers from the index `first` as a vector."""
        region = self.region
        assert region is not None
        if region.stop - region.start != self.size * self.dtype.itemsize:
            raise region.damaged(f"{self.size} numbers of {self.dtype} are {region.stop - region.start} bytes")
        start = region.start + first * self.dtype.itemsize
        if self.file is not None and count and start % self.dtype.itemsize == 0:
            return self.file.load(start, count, self.dtype)
        result = torch.empty(count, dtype=self.dtype)
        region.file.seek(start)
        region.file.readinto(result.view(torch.uint8).numpy())  # type: ignore[attr-defined]
        return result


@dataclass(eq=False)
class TensorInFile:
    """A tensor that is read from its file when it is used.

    Arguments:
        storage: Its numbers.
        offset: Index of the first number in the storage.
        shape: Its shape.
        stride: Step in the storage for each axis.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = (*self.shape, *self.stride, self.offset)
        if len(self.shape) != len(self.stride) or not all(type(n) is int and n >= 0 for n in sizes):
            raise ValueError("a tensor whose shape is no list of sizes")
        if self.numel and (self.offset + self.span > self.storage.size or self.numel > self.storage.size):
            raise ValueError("a tensor with more elements than the file has numbers for it")

    @classmethod
    def contiguous(cls, storage: Storage, shape: tuple[int, ...]) -> TensorInFile:
        """Return the tensor of all numbers of a storage.

        Arguments:
            storage: Its numbers.
            shape: Its shape.
        Returns:
            The tensor.
        """
        return cls(storage, 0, shape, tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers."""
        return self.storage.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def span(self) -> int:
        """Number of consecutive numbers of the storage that contain all elements."""
        return 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True)) if self.numel else 0

    def load(self) -> Tensor:
        """Return the tensor. It is not kept, so that converted weights are not in memory twice."""
        tensor = self.storage.load(self.offset if self.numel else 0, self.span).as_strided(self.shape, self.stride)
        return tensor.clone() if self.span > self.numel else tensor  # a clone has no numbers of other tensors
