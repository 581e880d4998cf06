"""Lock of a run folder for one trainer. The operating system frees it when the process ends, for whatever reason.

`filelock` locks the open file on every operating system. On Windows its first byte then cannot be read by other
processes, so that the name of the owner starts at the second byte.
"""

from __future__ import annotations

import errno
import os
import platform
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor

from sdekit.errors import InputError, SdekitError

from .layout import LOCK

_HELD: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()  # locks of this process
_GUARD = threading.Lock()


class FolderLock:
    """Lock of a folder, from construction until `release`, or until it is garbage collected.

    Within one process, a new lock takes over from an earlier one, so that a cell of a notebook can be run again.
    `check` and `take` of the earlier lock then raise SdekitError. On file systems without locks, nothing is locked.

    Arguments:
        folder: The folder, which must exist.
    Raises:
        InputError: If another process has the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path, self._lost = folder.resolve() / LOCK, False
        self.take()

    def take(self) -> None:
        """Take the lock again after `release`."""
        self.check()
        with _GUARD:
            earlier = _HELD.get(self._path)
            if earlier is self:
                return
            file = _locked(self._path, self.folder) if earlier is None else earlier._handed_over(self._path)
            self._process, self._file = os.getpid(), file
            self._free = weakref.finalize(self, _unlock, self._path, file, self._process)
            _HELD[self._path] = self

    def check(self) -> None:
        """Raise SdekitError if another trainer of this process has taken over."""
        if self._lost:
            raise SdekitError(
                f"{self.folder}: another trainer was started in this folder since, so this one must not write to it"
            )

    def release(self) -> None:
        """Free the lock; repeated calls do nothing."""
        with _GUARD:
            if _HELD.get(self._path) is self:
                del _HELD[self._path]
            self._free()

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Context manager that frees the lock if an exception is raised."""
        with ExitStack() as stack:
            stack.callback(self.release)
            yield
            stack.pop_all()

    def _handed_over(self, path: Path) -> int | None:
        if self._process != os.getpid():  # in a forked child: the lock belongs to the parent
            return _locked(path, self.folder)
        self._lost = True
        if self._file is None or not _is_at(path, self._file):  # the folder was removed meanwhile
            self._free()
            return _locked(path, self.folder)
        self._free.detach()
        return self._file


def _locked(path: Path, folder: Path) -> int | None:
    """Open and lock the file; return None on file systems without locks. Raises InputError if it is locked already."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        except OSError:  # writing the run will report what is wrong with the folder
            return None
        try:
            _lock(file)
        except BlockingIOError:
            os.lseek(file, 1, os.SEEK_SET)
            owner = os.read(file, 200).decode(errors="replace").strip()
            os.close(file)
            raise InputError(
                f"{folder}: another process{f' ({owner})' if owner else ''} is training in it: wait until it has "
                "ended, or choose another --out"
            ) from None
        except OSError:
            if not os.fstat(file).st_size:
                path.unlink(missing_ok=True)
            os.close(file)
            return None
        if _is_at(path, file):
            os.ftruncate(file, 0)
            os.write(file, f"\n{os.getpid()} on {platform.node()}\n".encode())
            return file
        os.close(file)  # the previous owner removed the file when it ended


def _lock(file: int) -> None:
    """Lock an open file or folder. Raise BlockingIOError if it is locked, and OSError if it cannot be locked."""
    if not lock_descriptor(file, blocking=False):
        raise BlockingIOError(errno.EWOULDBLOCK, "locked by another process")


def _unlock(path: Path, file: int | None, process: int) -> None:
    if file is None:
        return
    mine = process == os.getpid() and _is_at(path, file)  # a forked child has the file open, but does not own the lock
    with suppress(OSError):
        if mine and sys.platform != "win32":
            path.unlink()
    os.close(file)
    with suppress(OSError):
        if mine and sys.platform == "win32":  # Windows cannot remove an open file: another process may have it open
            path.unlink()


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False
