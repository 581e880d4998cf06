"""Read the files that torch.save wrote, and storages inside a pickle, as plain data without running anything.

torch.save writes a zip file (since torch 1.6) or a sequence of pickles followed by the numbers. The contents are read
as plain data by `inert_pickle`. A tensor is read when it is used: from a zip file by mapping the file into memory.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from sdekit.errors import InputError

from .inert_pickle import Constructors, Region, read_pickle
from .tensor_in_file import MappedFile, Storage, TensorInFile

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
    "torch.ComplexFloatStorage": torch.complex64,
    "torch.ComplexDoubleStorage": torch.complex128,
}
MAGIC = 0x1950A86A20F9469CFC6C
"""First number of a file of torch.save before torch 1.6."""
ZIP_START = b"PK\x03\x04"
LONGEST_LOOK = 2**22
LOCAL_HEADER = 30
"""Bytes of the header of an entry of a zip file, without its name and extra field."""


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
    "collections.defaultdict": lambda factory=None, items=(), *_: _dictionary(items),
    "torch.Size": tuple,
    **dict.fromkeys(("builtins.set", "__builtin__.set"), lambda *_: set()),
    **dict.fromkeys(("torch.device", "_codecs.encode"), lambda *_: None),
    **dict.fromkeys(map(str, DTYPES.values()), lambda *_: None),
    **dict.fromkeys(DTYPES, lambda *_: None),
}
"""Names in the files of torch.save. The content of sets and the text of devices are not needed."""


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
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
            raise InputError(f"{path} is {kind}: name a file")
        file = Path(path).open("rb")  # noqa: SIM115  # errors of other files in the body are not errors of this one
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    with file:
        yield Region(file, 0, status.st_size, str(path))


def read_torch_file(region: Region) -> Any:
    """Read a file of torch.save.

    Arguments:
        region: The whole file.
    Returns:
        Its content as plain data. Tensors are `TensorInFile`; load them before the file is closed.
    Raises:
        InputError: If it is no such file, is damaged, or contains a name that files of tensors do not need.
    """
    start = region.read(min(4, region.stop))
    region.position = 0
    return _read_zip(region) if start == ZIP_START else read_legacy(region, TENSORS)


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
    file = MappedFile(region.source, region.stop)

    def persistent(reference: Any) -> Storage:
        _, kind, key, _, size = reference
        if type(size) is not int or not 0 <= size <= region.stop:
            raise ValueError("a storage without a valid size")
        if str(key) not in storages:
            storages[str(key)] = Storage(DTYPES[str(kind)], size, place(f"data/{key}"), file)
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
