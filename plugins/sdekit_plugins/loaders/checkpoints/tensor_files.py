"""Read the tensors of files that torch.save wrote, and of tensors inside a pickle, without running anything.

torch.save writes a zip file (since torch 1.6) or a sequence of pickles followed by the numbers. The contents are read
as plain data by `inert_pickle`. A tensor is read when it is used: from a zip file by mapping the file into memory.
"""

from __future__ import annotations

import io
import math
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from sdekit.errors import InputError

from .inert_pickle import Constructors, Region, read_pickle

DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
MAGIC = 0x1950A86A20F9469CFC6C
"""First number of a file of torch.save before torch 1.6."""
ZIP_START = b"PK\x03\x04"
LONGEST_LOOK = 2**22
LOCAL_HEADER = 30
"""Bytes of the header of an entry of a zip file, without its name and extra field."""


@dataclass(eq=False)
class Storage:
    """Numbers of one or several tensors in a file.

    Arguments:
        dtype: Type of the numbers.
        size: How many numbers.
        region: Their place in the file, once it is known.
        mapped: Whether to map the file into memory, in place of reading it.
    """

    dtype: torch.dtype
    size: int
    region: Region | None = None
    mapped: bool = False

    def load(self) -> Tensor:
        """Return all numbers as a vector. It is not kept, so that converted weights are not in memory twice."""
        region = self.region
        assert region is not None
        wanted = self.size * self.dtype.itemsize
        if region.stop - region.start != wanted:
            raise region.damaged(f"{self.size} numbers of {self.dtype} are {region.stop - region.start} bytes")
        if self.mapped and wanted:
            numbers = np.memmap(region.source, np.uint8, "c", region.start, (wanted,))
            return torch.from_numpy(np.asarray(numbers)).view(self.dtype)
        result = torch.empty(self.size, dtype=self.dtype)
        region.file.seek(region.start)
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
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if self.numel and (last >= self.storage.size or self.numel > self.storage.size):
            raise ValueError("a tensor with more elements than the file has numbers for it")

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def load(self) -> Tensor:
        """Return the tensor."""
        return self.storage.load().as_strided(self.shape, self.stride, self.offset)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> TensorInFile:
    """Stand in for torch._utils._rebuild_tensor_v2."""
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without numbers")
    return TensorInFile(storage, offset, tuple(shape), tuple(stride))


def _parameter(tensor: Any, *_: Any) -> Any:
    """Stand in for torch._utils._rebuild_parameter."""
    return tensor


def _dictionary(items: Any = (), *_: Any) -> dict[Any, Any]:
    """Stand in for collections.OrderedDict."""
    return {key: value for key, value in items if isinstance(key, (str, int))}


TENSORS: Constructors = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "collections.OrderedDict": _dictionary,
    "torch.Size": tuple,
    **dict.fromkeys(DTYPES, lambda *_: None),
}
"""Names in the files of torch.save."""


@contextmanager
def open_region(path: str | os.PathLike[str]) -> Iterator[Region]:
    """Open a regular file.

    Arguments:
        path: File to read.
    Yields:
        The region of the whole file.
    Raises:
        InputError: If there is no such file, or it is a folder or a device.
    """
    try:
        status = os.stat(path)  # before opening: a pipe would wait for its other end
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is {'a folder' if stat.S_ISDIR(status.st_mode) else 'not a regular file'}")
        with Path(path).open("rb") as file:
            yield Region(file, 0, status.st_size, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def open_torch_file(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a file of torch.save.

    Arguments:
        path: File to read.
    Yields:
        Its content as plain data. Tensors are `TensorInFile`; load them before the file is closed.
    Raises:
        InputError: If it is no such file, is damaged, or contains a name that files of tensors do not need.
    """
    with open_region(path) as region:
        start = region.read(min(4, region.stop))
        region.position = 0
        yield _read_zip(region) if start == ZIP_START else read_legacy(region, TENSORS)


def read_legacy(region: Region, constructors: Constructors) -> Any:
    """Read the format of torch.save before torch 1.6, which is also that of a storage inside a pickle.

    Arguments:
        region: Four pickles (magic number, version, system, content), a list of storages, and their numbers.
        constructors: Names that are allowed in the content.
    Returns:
        The content as plain data.
    Raises:
        InputError: If the region is damaged or contains other names.
    """
    if read_pickle(region, {}) != MAGIC:
        raise region.damaged("it does not start as a file of torch.save")
    read_pickle(region, {})
    system = read_pickle(region, {})
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise region.damaged("it was not written by a little-endian machine")
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Storage:
        _, kind, key, _, size, *view = reference
        if any(view) or type(size) is not int or not 0 <= size <= region.stop:
            raise ValueError("a storage without a valid size")
        return storages.setdefault(str(key), Storage(DTYPES[str(kind)], size))

    content = read_pickle(region, constructors, persistent)
    keys = read_pickle(region, {})
    if not isinstance(keys, list) or {str(key) for key in keys} != storages.keys():
        raise region.damaged("the list of its storages does not match its tensors")
    for key in map(str, keys):
        size = int.from_bytes(region.read(8), "little")
        storages[key].region = region.skip(size * storages[key].dtype.itemsize)
    return content


def _read_zip(region: Region) -> Any:
    """Read the zip format of torch.save; its entries are not compressed, so tensors can be mapped into memory."""
    try:
        with zipfile.ZipFile(region.file) as archive:
            entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise region.damaged(f"its zip directory cannot be read: {error}") from error

    def place(name: str) -> Region:
        info = entries.get(name)
        if info is None:
            raise region.damaged(f"the zip file has no entry {name}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise region.damaged(f"the entry {name} is compressed, which torch.save never does")
        header = Region(region.file, min(info.header_offset, region.stop), region.stop, region.source)
        local = header.read(LOCAL_HEADER)
        header.skip(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"))
        return header.skip(info.file_size)

    if "byteorder" in entries and (order := place("byteorder")).read(min(6, order.stop - order.start)) != b"little":
        raise region.damaged("it was not written by a little-endian machine")
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Storage:
        _, kind, key, _, size = reference
        if type(size) is not int or not 0 <= size <= region.stop:
            raise ValueError("a storage without a valid size")
        if str(key) not in storages:
            storages[str(key)] = Storage(DTYPES[str(kind)], size, place(f"data/{key}"), mapped=True)
        return storages[str(key)]

    return read_pickle(place("data.pkl"), TENSORS, persistent)


def storage_of_bytes(content: Any, source: str) -> Storage:
    """Return the storage inside a pickle: the value of torch.storage._load_from_bytes.

    Arguments:
        content: Byte string, or its place in a file.
        source: Path of the file, for messages.
    Returns:
        The storage.
    Raises:
        InputError: If the bytes are no storage.
    """
    if isinstance(content, bytes):
        file: BinaryIO = io.BytesIO(content)
        content = Region(file, 0, len(content), source)
    if not isinstance(content, Region):
        raise TypeError("a storage without bytes")
    storage = read_legacy(Region(content.file, content.start, content.stop, source), TENSORS)
    if not isinstance(storage, Storage):
        raise content.damaged("a tensor has no numbers")
    return storage


def tensors_of(content: Any, source: str) -> dict[str, TensorInFile]:
    """Return the tensors of a state dictionary by name.

    Arguments:
        content: Value from a file.
        source: Path of the file, for messages.
    Returns:
        Tensors by name, without the prefix "module." of DataParallel.
    Raises:
        InputError: If the content is no dictionary of tensors.
    """
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{source} contains no dictionary of tensors")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, TensorInFile):
            raise InputError(f"{source}: its entry {str(name)[:80]!r} is no tensor, so it is no state dictionary")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def file_contains(path: Path, *texts: bytes) -> bool:
    """Whether the pickle at the start of a file of torch.save contains all of some texts.

    Arguments:
        path: File to look into.
        texts: Texts to look for.
    Returns:
        Whether the first 4 MiB of its pickle contain all of them.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            start = archive.open(names[0]).read(LONGEST_LOOK) if names else b""
    else:
        with path.open("rb") as file:
            start = file.read(LONGEST_LOOK)
    return all(text in start for text in texts)
