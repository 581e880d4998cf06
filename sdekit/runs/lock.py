"""One training at a time in a folder: by a lock that the operating system frees when its process ends, however it ends.

Windows has no `fcntl`; there `msvcrt` locks a byte far behind what is written, which stays readable.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sdekit.errors import InputError, SdekitError

from .layout import LOCK

FAR = 2**30
_HELD: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()  # of this process
_GUARD = threading.Lock()


class FolderLock:
    """Held from when it is made until `release`, or until nothing refers to it any more.

    In one process the latest takes over from an earlier one, whose `check` and `take` then raise SdekitError: a
    notebook goes on where its cell is run again. Where the file system has no locks, nothing is locked.
    Raises InputError where another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path, self._lost = folder.resolve() / LOCK, False
        self.take()

    def take(self) -> None:
        """Hold it, if it was released."""
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
        """SdekitError where another trainer of this process has taken over."""
        if self._lost:
            raise SdekitError(f"{self.folder}: another trainer was begun there since: this one must not write into it")

    def release(self) -> None:
        """Let others in; once is enough."""
        with _GUARD:
            if _HELD.get(self._path) is self:
                del _HELD[self._path]
            self._free()

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Within it whatever is raised lets others in."""
        with ExitStack() as stack:
            stack.callback(self.release)
            yield
            stack.pop_all()

    def _handed_over(self, path: Path) -> int | None:
        if self._process != os.getpid():  # a child that was forked: the lock is its parent's
            return _locked(path, self.folder)
        self._lost = True
        if self._file is None or not _lies_at(path, self._file):  # the folder was removed meanwhile
            self._free()
            return _locked(path, self.folder)
        self._free.detach()
        return self._file


def _locked(path: Path, folder: Path) -> int | None:
    """The open file, locked; None where there are no locks. Raises InputError where another process has it."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:  # what the folder is in want of is told when the run is written into it
            return None
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            who = os.read(file, 200).decode(errors="replace").strip()
            os.close(file)
            raise InputError(
                f"{folder}: another process{f' ({who})' if who else ''} is training into it: wait until it has ended, "
                "or choose another --out"
            ) from None
        except OSError:
            if not os.fstat(file).st_size:
                path.unlink(missing_ok=True)
            os.close(file)
            return None
        if _lies_at(path, file):
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()} on {platform.node()}\n".encode())
            return file
        os.close(file)  # its holder removed it when it ended


def _unlock(path: Path, file: int | None, process: int) -> None:
    if file is None:
        return
    mine = process == os.getpid() and _lies_at(path, file)  # a forked child has the file, not the lock
    with suppress(OSError):
        if mine and sys.platform != "win32":
            path.unlink()
    os.close(file)
    with suppress(OSError):
        if mine and sys.platform == "win32":  # where no open file can be removed, and another's is open
            path.unlink()


def _lies_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
