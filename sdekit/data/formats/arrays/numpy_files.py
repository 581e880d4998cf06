"""Bounded reading of NumPy files: headers are checked against the size of the file before any array is created."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from typing import IO, Literal, NamedTuple

import numpy as np

from sdekit.data.formats.regular_files import check_regular
from sdekit.errors import InputError
from sdekit.registry import unknown_name

MAGIC = b"\x93NUMPY"
HEADER_BYTES = 2**14
"""Largest size of a header in bytes. Headers of plain arrays have 128 bytes."""
ALWAYS_READ = 2**28
"""Size in bytes of an array that is read from a compressed file whatever its compression."""
MOST_COMPRESSED = 250
"""Largest ratio of the size of a larger array to its compressed size. Files above it are made to fill the memory."""
MOST_ENTRIES = 4096
"""Largest number of entries in a .npz file."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
READ_ERRORS = (
    ValueError,
    OSError,
    EOFError,
    KeyError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    MemoryError,
)


class Header(NamedTuple):
    """Shape and dtype of an array in a file.

    Attributes:
        shape: Shape.
        dtype: Type of the numbers or texts; it has neither fields nor sub-arrays.
        fortran_order: Whether the first axis varies fastest.
        start: Number of bytes before the numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool
    start: int

    @property
    def size(self) -> int:
        """Number of bytes of the whole array."""
        return prod(self.shape) * self.dtype.itemsize


def read_npy(path: str, source: str, *, most_bytes: int | None = None) -> np.ndarray:
    """Map a .npy file into memory. Pickles are refused, so that no code is executed.

    Arguments:
        path: The file.
        source: Name of the file in messages, such as "array:x.npy".
        most_bytes: Largest size of the array, for arrays that are copied into memory, or None for any size.
    Returns:
        Read-only array, whose parts are read when they are used.
    Raises:
        InputError: If the file is no .npy file of numbers or texts, shorter than its header states, or larger than
            `most_bytes`.
    """
    check_regular(path, source, "a .npy file")
    try:
        with open(path, "rb") as file:
            header = _read_header(file, source)
        _check_size(header, os.path.getsize(path) - header.start, source)
        if most_bytes is not None and header.size > most_bytes:
            raise InputError(f"{source} contains {header.shape} numbers; expected at most {most_bytes >> 20} MiB")
        if not header.size:
            return np.empty(header.shape, header.dtype)
        order: Literal["F", "C"] = "F" if header.fortran_order else "C"
        shape, offset = header.shape, header.start
        numbers: np.ndarray = np.memmap(path, dtype=header.dtype, mode="r", offset=offset, shape=shape, order=order)
        return numbers
    except InputError:  # InputError is also a ValueError
        raise
    except READ_ERRORS as error:
        raise InputError(f"{source} cannot be read ({error or type(error).__name__})") from error


class NpzFile:
    """Arrays of a .npz file. Only headers are read when it is opened.

    Arguments:
        path: The file.
        source: Name of the file in messages, such as "array:x.npz".
    Attributes:
        headers: Header of each array of numbers or texts, by name.
        others: Names of all other entries, with the reason why they cannot be read.
    Raises:
        InputError: If the file cannot be read.
    """

    def __init__(self, path: str, source: str) -> None:
        self._path, self._source = path, source
        check_regular(path, source, "a .npz file")
        self.headers: dict[str, Header] = {}
        self.others: dict[str, str] = {}
        self._entries: dict[str, zipfile.ZipInfo] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                if len(archive.infolist()) > MOST_ENTRIES:
                    raise InputError(f"{source} contains {len(archive.infolist())} entries; expected a few arrays")
                for entry in archive.infolist():
                    if not entry.is_dir():
                        self._add(archive, entry)
        except InputError:
            raise
        except READ_ERRORS as error:
            raise InputError(
                f"{source} cannot be read ({error or type(error).__name__}); it may be incomplete: write it again"
            ) from error

    def _add(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        """Read the header of one entry."""
        name = entry.filename.removesuffix(".npy")
        if name in self._entries:
            raise ValueError(f"it contains {name!r} twice")
        self._entries[name] = entry
        if entry.flag_bits & 1 or entry.compress_type not in METHODS:
            self.others[name] = "it is encrypted" if entry.flag_bits & 1 else "its compression is unknown"
            return
        try:
            with archive.open(entry) as file:
                header = _read_header(file, f"'{name}'")
            _check_size(header, entry.file_size - header.start, f"'{name}'")
            self.headers[name] = header
        except InputError as error:
            self.others[name] = str(error)

    def read(self, name: str) -> np.ndarray:
        """Read one array.

        Arguments:
            name: Its name.
        Returns:
            The array.
        Raises:
            InputError: If there is no such array, if it cannot be read, or if it is compressed more than any data.
        """
        if name not in self._entries:
            raise InputError(unknown_name(f"array in {self._path}", name, list(self.headers), "It contains"))
        if name in self.others:
            raise InputError(f"{self._source}: {self.others[name]}")
        header, entry = self.headers[name], self._entries[name]
        packed = min(entry.compress_size, os.path.getsize(self._path))
        if header.size > max(ALWAYS_READ, MOST_COMPRESSED * packed):
            raise InputError(
                f"{self._source}: '{name}' of {packed} bytes expands to {header.size / 2**30:.3g} GiB; if "
                "these are your data, save them as a .npy file, which is not read into memory"
            )
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(entry) as file:
                file.read(header.start)
                data = file.read(header.size)
                file.read(1)  # makes zipfile check the checksum
        except MemoryError as error:
            raise InputError(
                f"{self._source}: '{name}' needs {header.size / 2**30:.3g} GiB of memory; save it as a .npy file, "
                "which is not read into memory"
            ) from error
        except READ_ERRORS as error:
            raise InputError(
                f"{self._source} cannot be read ({error}); it may be incomplete: write it again"
            ) from error
        if len(data) != header.size:
            raise InputError(f"{self._source}: '{name}' is shorter than its header states; write the file again")
        array: np.ndarray = np.frombuffer(data, header.dtype)
        return array.reshape(header.shape, order="F" if header.fortran_order else "C")


def is_npz(path: str) -> bool | None:
    """Return whether a regular file is a .npz file, False for a .npy file, and None for other files."""
    with open(path, "rb") as file:
        magic = file.read(6)
    return False if magic == MAGIC else True if magic[:2] == b"PK" else None


def describe(headers: Mapping[str, Header]) -> str:
    """List arrays with their shapes and types, at most 20 of them, for messages."""
    shown = [f"{name} {header.dtype} {header.shape}" for name, header in list(headers.items())[:20]]
    return ", ".join(shown) + (f", ... ({len(headers)} in total)" if len(headers) > len(shown) else "")


def _read_header(file: IO[bytes], source: str) -> Header:
    """Read the header of an array from at most 16 KiB at the start of a file."""
    start = file.read(HEADER_BYTES)
    stream = io.BytesIO(start)
    if start[:6] != MAGIC:
        raise InputError(f"{source} is not an array")
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise InputError(f"{source} has fields, or format {version}; expected a plain array of numbers")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(stream, max_header_size=HEADER_BYTES)
    except InputError:
        raise
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError, EOFError) as error:
        raise InputError(
            f"{source} cannot be read (its header is damaged: {str(error)[:100] or type(error).__name__}); it may be "
            "incomplete: write it again"
        ) from error
    if dtype.hasobject:
        raise InputError(f"{source} contains Python objects; expected an array of numbers, not a list")
    if dtype.kind not in "iufcbSUmM" or not dtype.itemsize:
        raise InputError(f"{source} has type {dtype}; expected a plain array of numbers or text")
    if any(size < 0 or size >= 2**48 for size in shape):
        raise InputError(f"{source} has the impossible shape {str(shape)[:60]} in its header")
    return Header(tuple(shape), dtype, fortran_order, stream.tell())


def _check_size(header: Header, available: int, source: str) -> None:
    """Raise InputError if the numbers of a header do not fit into the bytes after it."""
    if header.size > available:
        raise InputError(
            f"{source} cannot be read (its header states {header.shape} {header.dtype}, which is {header.size} bytes, "
            f"and {max(available, 0)} bytes follow); it may be incomplete: write it again"
        )
