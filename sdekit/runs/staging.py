"""Replace files in a folder: all of them or none, even if the process is killed at any moment.

New files are written into a staging folder, `.sdekit-*`, inside the target folder. When they are complete, the file
`commit.json` in the staging folder lists the earlier files that they replace, and renames move all files into place.
After a kill, `recover` finishes the renames of a staging folder that has a `commit.json`, and removes a staging folder
that has none. Commands call it before they read or write a folder, so that they find either all earlier files or all
new files.

A single file needs no list, because one rename replaces it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sdekit.errors import InputError, SdekitError

from .layout import LOCK
from .lock import _lock as lock_file

STAGE = ".sdekit-"
"""Start of the name of a staging folder."""
NEW, OLD, COMMIT = "new", "old", "commit.json"
"""In a staging folder: the new files, the earlier files that were moved away, and the names of all earlier files."""
LONGEST_WAIT = 10.0
"""Seconds to wait for another process that is moving files in the same folder, which takes milliseconds."""
MOST_AGE = 86400.0
"""Age in seconds at which a staging folder counts as abandoned on a file system without locks."""
MOST_BYTES = 2**24
"""Largest size of a `commit.json`."""
_THREAD = threading.local()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all. Until it is complete, an earlier file of that name stays as it is.

    Arguments:
        path: File to write; its folder is created.
        content: Contents of the file.
    Raises:
        SdekitError: If the file cannot be written, for example because the disk is full.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(errno.EEXIST, "it exists and is not a regular file")
        path.parent.mkdir(exist_ok=True)
        recover(path.parent)
        with _stage(path.parent) as stage:
            with open(stage / path.name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(stage / path.name, path)
    except OSError as error:
        raise SdekitError(
            f"could not save {path}: {error.strerror or error}. The file that was there before is unchanged"
        ) from error


@contextmanager
def staged(
    out: Path, replaced: Callable[[], Iterable[str]] = tuple, *, description: str = "new files"
) -> Iterator[Path]:
    """Context manager that gives an empty folder, and at the end moves everything in it into `out`, all at once.

    If anything fails, the files in `out` are unchanged. If files that must not be replaced were written to `out`
    meanwhile, the new files are moved to a new folder beside it, and the error names that folder.

    Arguments:
        out: Folder of the files, which is created.
        replaced: Function that returns the names in `out` to remove. It is called when the new files are complete, and
            raises InputError if `out` contains files that must not be replaced. Files with the names of new files are
            always replaced.
        description: Noun phrase for the new files, for messages.
    Yields:
        The empty folder.
    Raises:
        SdekitError: If the files cannot be written or moved.
    """
    created = [place for place in (out, *out.parents) if not os.path.exists(place)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        recover(out)
        with _stage(out) as stage:
            (new := stage / NEW).mkdir()
            (stage / OLD).mkdir()
            yield new
            for file in new.iterdir():
                if file.is_file():
                    _flush(file)
            with _exclusive(out):
                _commit(out, stage, _replaced_names(out, new, replaced, description))
    except OSError as error:
        why = error.strerror or error
        raise SdekitError(f"could not write to {out}: {why}. Earlier files in it are unchanged") from error
    finally:
        with suppress(OSError):  # a folder that is not empty ends the loop: the files are in it
            for place in created:
                place.rmdir()


def recover(folder: Path) -> None:
    """Finish or undo the replacement of files in a folder by a process that was killed, and remove its staging folder.

    Staging folders of living processes stay as they are. While files are being moved in a folder, this waits; in the
    thread that moves them it does nothing.

    Arguments:
        folder: Any path. Nothing happens if it is not a folder.
    Raises:
        SdekitError: If the replacement cannot be finished, for example because the folder is read-only.
    """
    try:
        if not any(name.startswith(STAGE) for name in os.listdir(folder)):
            return
    except (OSError, ValueError):
        return
    if os.path.realpath(folder) in _moving():
        return
    with _exclusive(folder):
        for stage in sorted(folder.glob(f"{STAGE}*")):
            if not stage.is_symlink() and stage.is_dir():
                _recover(folder, stage)


def names_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder, without staging folders.

    Arguments:
        folder: Folder, which need not exist.
    Returns:
        Names; empty if the folder does not exist.
    """
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith(STAGE)) if folder.is_dir() else []


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Context manager that creates a staging folder, and removes it at the end. A lock marks it as in use."""
    with ExitStack() as stack:
        with _exclusive(folder):  # so that `recover` of another process never finds it without its lock
            stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=folder))
            stack.callback(_remove, stage)
            lock = os.open(stage / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            stack.callback(os.close, lock)
            with suppress(OSError):  # a file system without locks
                lock_file(lock)
        yield stage


def _replaced_names(out: Path, new: Path, replaced: Callable[[], Iterable[str]], description: str) -> list[str]:
    """Return the names in `out` that the new files replace. If it is refused, move the new files beside `out`."""
    try:
        names = {*replaced(), *os.listdir(new)}
    except InputError as error:
        number, whole = 2, out.absolute()
        while os.path.lexists(beside := whole.with_name(f"{whole.name}-{number}")):
            number += 1
        shutil.move(new, beside)
        raise SdekitError(
            f"{error}. Another program wrote there while this command ran, so the {description} are in {beside}"
        ) from error
    return sorted(name for name in names if os.path.lexists(out / name))


def _commit(out: Path, stage: Path, names: list[str]) -> None:
    """Move the earlier files away and the new files to `out`: all of them, or none if one move fails."""
    draft = stage / f"{COMMIT}.partial"
    draft.write_text(json.dumps(names), encoding="utf-8")
    _flush(draft)
    done: list[tuple[Path, Path]] = []
    try:
        os.replace(draft, stage / COMMIT)  # from here on, `recover` finishes the moves
        for source, target in _moves(out, stage, names):
            os.rename(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            os.rename(target, source)
        (stage / COMMIT).unlink(missing_ok=True)
        raise
    (stage / COMMIT).unlink()


def _moves(out: Path, stage: Path, names: Iterable[str]) -> list[tuple[Path, Path]]:
    """Return the renames that remain to be done, as (source, target)."""
    away = [name for name in names if os.path.lexists(out / name) and not os.path.lexists(stage / OLD / name)]
    moves = [(out / name, stage / OLD / name) for name in away]
    return moves + [(stage / NEW / name, out / name) for name in sorted(os.listdir(stage / NEW))]


def _recover(folder: Path, stage: Path) -> None:
    """Finish the moves of an abandoned staging folder if it is complete, and remove it."""
    with _claimed(stage) as abandoned:
        if not abandoned:
            return
        names = _committed_names(stage)
        try:
            if names is not None:
                for source, target in _moves(folder, stage, names):
                    os.rename(source, target)
                (stage / COMMIT).unlink()
        except OSError as error:
            raise SdekitError(
                f"{folder}: a command was killed while it replaced the files in this folder, and the rest cannot be "
                f"replaced now ({error.strerror or error}): make the folder writable"
            ) from error
    shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _claimed(stage: Path) -> Iterator[bool]:
    """Context manager that gives whether no living process uses a staging folder."""
    abandoned, lock = True, None
    try:
        lock = os.open(stage / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        lock_file(lock)
    except (BlockingIOError, PermissionError):
        abandoned = lock is None
    except OSError:
        with suppress(OSError):
            abandoned = time.time() - stage.stat().st_mtime > MOST_AGE
    try:
        yield abandoned
    finally:
        if lock is not None:
            os.close(lock)


def _committed_names(stage: Path) -> list[str] | None:
    """Read the names of the earlier files, or return None if the new files are not complete.

    The folder may come from an untrusted source: links and paths could move files outside it.
    """
    commit = stage / COMMIT
    try:
        if not all(stat.S_ISDIR(os.lstat(stage / name).st_mode) for name in (NEW, OLD)):
            return None
        if not stat.S_ISREG((status := os.lstat(commit)).st_mode) or status.st_size > MOST_BYTES:
            return None
        names = json.loads(commit.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    valid = isinstance(names, list) and all(isinstance(n, str) and n == os.path.basename(n) for n in names)
    return names if valid and not {"", ".", ".."} & set(names) else None


def _remove(stage: Path) -> None:
    """Remove a staging folder, unless its moves remain to be finished."""
    if not (stage / COMMIT).exists():
        shutil.rmtree(stage, ignore_errors=True)


def _flush(file: Path) -> None:
    with open(file, "r+b") as opened:
        os.fsync(opened.fileno())


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Context manager that excludes other processes that move files in a folder.

    Windows and some file systems cannot lock a folder: there, nothing is excluded.
    """
    with ExitStack() as stack:
        if sys.platform != "win32":
            with suppress(OSError):
                file = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, file)
                _wait_for_lock(file, folder)
        _moving().append(os.path.realpath(folder))
        stack.callback(_moving().pop)
        yield


def _moving() -> list[str]:
    """Return the folders in which this thread is moving files."""
    if not hasattr(_THREAD, "moving"):
        _THREAD.moving = []
    moving: list[str] = _THREAD.moving
    return moving


def _wait_for_lock(file: int, folder: Path) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            return lock_file(file)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SdekitError(f"{folder}: another process is writing to this folder: try again later") from None
            time.sleep(0.01)
