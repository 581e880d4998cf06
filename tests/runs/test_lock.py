"""A folder has one trainer at a time, and a lock ends with its process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sdekit.errors import InputError, SdekitError
from sdekit.runs import CONFIG, FolderLock, lock as module, read_metrics
from sdekit.runs.layout import LOCK
from sdekit.training import Trainer, train

Moons = Callable[..., Any]
HOLD = """
import sys
from pathlib import Path
from sdekit.runs import FolderLock
held = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Context manager in which another process locks the folder."""
    folder.mkdir(exist_ok=True)
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **given) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder except the lock."""
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != LOCK}


def test_another_process(tmp_path: Path, moons: Moons) -> None:
    """A second process is refused and changes nothing; after the first one was killed it may train."""
    out = tmp_path / "run"
    train(*moons(steps=2), out)
    assert not (out / LOCK).exists()
    before = files(out)
    with held_elsewhere(out) as process:
        for how in ("resume", "overwrite"):
            with pytest.raises(InputError, match=rf"run: another process \({process.pid} on .*\) is training in it"):
                Trainer(*moons(steps=2), out, **{how: True})
        assert files(out) == before
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (out / LOCK).exists()
    assert train(*moons(steps=3), out, overwrite=True).finished and not (out / LOCK).exists()
    with held_elsewhere(tmp_path / "new"), pytest.raises(InputError, match="another process"):
        Trainer(*moons(steps=2), tmp_path / "new")
    assert os.listdir(tmp_path / "new") == [LOCK]
    train(*moons(steps=1), tmp_path / "new")  # what a kill left is no content


def test_held_until_the_run_is_over(tmp_path: Path, moons: Moons, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock ends with the training, with an error, or with its trainer."""
    recipe, data = moons(steps=3)
    lock = tmp_path / LOCK
    trainer = Trainer(recipe, data, tmp_path)
    for _ in trainer.run():
        assert lock.read_text().strip().startswith(str(os.getpid()))
    assert not lock.exists()
    for _ in trainer.run():
        pass
    with pytest.raises(KeyError):
        for _ in Trainer(recipe, data, tmp_path, overwrite=True).run():
            raise KeyError
    gc.collect()
    assert not lock.exists()
    trainer = Trainer(recipe, data, tmp_path, overwrite=True)
    assert lock.exists()
    del trainer
    gc.collect()
    assert not lock.exists()
    with pytest.raises(InputError, match="already contains a run"):
        Trainer(recipe, data, tmp_path)
    monkeypatch.setattr("sdekit.training.trainer.save_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as error:
        Trainer(recipe, data, tmp_path, overwrite=True)
    assert error.value and not lock.exists()


def test_in_one_process_the_latest_goes_on(tmp_path: Path, moons: Moons) -> None:
    """Within one process a new trainer takes over, as in a notebook, and the earlier one can no longer write."""
    recipe, data = moons(steps=8)
    earlier = Trainer(recipe, data, tmp_path)
    steps = earlier.run()
    next(steps)
    later = Trainer(*moons(steps=4), tmp_path, overwrite=True)
    with pytest.raises(SdekitError, match="another trainer was started in this folder since"):
        next(steps)
    with pytest.raises(SdekitError, match="another trainer was started in this folder since"):
        next(earlier.run())
    with held_elsewhere_is_refused(tmp_path):
        assert list(later.run())[-1].step == 4
    assert [row["step"] for row in read_metrics(tmp_path)] == [4] and not (tmp_path / LOCK).exists()


@contextmanager
def held_elsewhere_is_refused(folder: Path) -> Iterator[None]:
    """Return whether the folder is locked for other processes."""
    ended = subprocess.run([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.DEVNULL, capture_output=True)
    assert b"another process" in ended.stderr
    yield


def test_folder_that_was_removed(tmp_path: Path) -> None:
    """The lock of a removed folder does not lock a new folder of the same name."""
    out = tmp_path / "run"
    out.mkdir()
    earlier = FolderLock(out)
    (out / LOCK).unlink()
    out.rmdir()
    out.mkdir()
    later = FolderLock(out)
    assert (out / LOCK).exists()
    earlier.release()
    assert (out / LOCK).exists()
    later.release()
    assert not (out / LOCK).exists()


def test_file_system_without_locks(tmp_path: Path, moons: Moons, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training works on file systems without locks."""

    def none(file: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module, "_lock", none)
    assert train(*moons(steps=2), tmp_path / "run").finished
    assert (tmp_path / "run" / CONFIG).exists() and not (tmp_path / "run" / LOCK).exists()
