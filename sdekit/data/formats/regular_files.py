"""Reading of regular files with bounded memory. Devices, pipes and other special files are refused."""

from __future__ import annotations

import os
import stat
import threading
import weakref
from typing import BinaryIO

from sdekit.errors import InputError

MAX_BYTES = 2**29
"""Largest size of a file that is read as a whole."""


def check_regular(path: str, source: str, expected: str) -> None:
    """Check that a path is a regular file, or a link to one, before it is opened.

    Opening a pipe would wait for a writer, and a device such as /dev/zero has no end.

    Arguments:
        path: Path of the file.
        source: Name of the file in messages, such as "table:data.csv".
        expected: Description of the expected file, such as "a .csv file".
    Raises:
        InputError: If the path does not exist, cannot be examined, or is not a regular file.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        problem = "no such file" if missing else f"cannot be opened ({getattr(error, 'strerror', None) or error})"
        raise InputError(f"{source}: {problem}; expected {expected}") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{source} is a folder; expected {expected}")
    if not stat.S_ISREG(mode):
        raise InputError(f"{source} is a device, a pipe or a socket; expected {expected}")


def read_regular(path: str, limit: int | None = None) -> bytes:
    """Read a regular file, or its first `limit` bytes.

    Arguments:
        path: Path of the file.
        limit: Largest number of bytes to read. None reads the whole file.
    Returns:
        Content of the file.
    Raises:
        OSError: If the file cannot be read, is not regular, or is read as a whole and larger than `MAX_BYTES`.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    if limit is None and status.st_size > MAX_BYTES:
        raise OSError(f"larger than {MAX_BYTES >> 20} MiB")
    with open(path, "rb") as file:
        return file.read(MAX_BYTES if limit is None else limit)


class SharedFile:
    """Binary file that several threads may read at once.

    It uses `os.pread`, which needs no file position, or a lock on systems without this function, such as Windows.
    A copy in another process opens the file again.

    Arguments:
        path: Path of the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._file: BinaryIO = open(self._path, "rb", buffering=0)  # noqa: SIM115 (closed with this object)
        self._lock, self._size = threading.Lock(), os.fstat(self._file.fileno()).st_size
        weakref.finalize(self, self._file.close)

    def __getstate__(self) -> str:
        return self._path

    def __setstate__(self, path: str) -> None:
        self._path = path
        self._open()

    def read(self, count: int, offset: int) -> bytes:
        """Read up to `count` bytes from the offset.

        Arguments:
            count: Number of bytes.
            offset: Position of the first byte.
        Returns:
            The bytes, fewer at the end of the file.
        """
        parts, count = [], min(count, self._size - offset)  # a wrong count must not exhaust the memory
        while count > 0 and (part := self._read_once(count, offset)):
            parts.append(part)
            count, offset = count - len(part), offset + len(part)
        return b"".join(parts)

    def _read_once(self, count: int, offset: int) -> bytes:
        """Read up to `count` bytes by one system call."""
        pread = getattr(os, "pread", None)
        if pread is not None:
            return bytes(pread(self._file.fileno(), count, offset))
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)
