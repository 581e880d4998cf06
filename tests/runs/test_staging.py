"""Files of a folder are replaced all at once, and an interrupted replacement is finished or undone."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest

from sdekit.errors import InputError, SdekitError
from sdekit.runs import names_in, recover, staged, write_atomically
from sdekit.runs.staging import COMMIT, NEW, OLD, STAGE


def contents(folder: Path) -> dict[str, str | None]:
    """Return everything below a folder: texts of files, None for folders."""
    return {str(p.relative_to(folder)): p.read_text() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def interrupted(folder: Path, names: object, new: dict[str, str], old: dict[str, str] | None = None) -> Path:
    """Write a staging folder as a kill leaves it after its commit."""
    stage = folder / f"{STAGE}killed"
    for part, files in ((NEW, new), (OLD, old or {})):
        (stage / part).mkdir(parents=True)
        for name, text in files.items():
            (stage / part / name).write_text(text)
    (stage / COMMIT).write_text(json.dumps(names))
    return stage


def test_foreign_files_stay(tmp_path: Path) -> None:
    """New files replace those of the same names and the names that are listed, and no others."""
    for name in ("a", "b", "mine"):
        (tmp_path / name).write_text("old")
    with staged(tmp_path, lambda: ["b", "absent"]) as new:
        (new / "a").write_text("new")
        (new / "folder").mkdir()
        (new / "folder" / "c").write_text("new")
        assert contents(tmp_path)["a"] == "old"
    assert contents(tmp_path) == {"a": "new", "mine": "old", "folder": None, "folder/c": "new"}


@pytest.mark.parametrize("place", ["link", "current"])
def test_target_that_cannot_be_renamed(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to a folder stays a link, and the current folder stays the current folder."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real")
    for text in ("old", "new"):
        with staged(Path(".") if place == "current" else tmp_path / "link") as new:
            (new / "a").write_text(text)
    assert (tmp_path / "link").is_symlink() and Path("a").read_text() == "new"
    assert contents(tmp_path / "real") == {"a": "new"}


def test_replacement_is_finished(tmp_path: Path) -> None:
    """Moves that were done are not repeated; those that remain are done; then the staging folder is removed."""
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    (tmp_path / "mine").write_text("mine")
    interrupted(tmp_path, ["a", "b", "c"], {"d": "new"}, {"a": "old"})
    assert names_in(tmp_path) == ["a", "b", "mine"]
    recover(tmp_path)
    assert contents(tmp_path) == {"a": "new", "d": "new", "mine": "mine"}


def test_replacement_is_undone(tmp_path: Path) -> None:
    """Without a commit the earlier files stay, and the incomplete ones are removed."""
    (tmp_path / "a").write_text("old")
    (interrupted(tmp_path, ["a"], {"a": "new"}) / COMMIT).unlink()
    recover(tmp_path)
    assert contents(tmp_path) == {"a": "old"}


def test_living_process_is_not_disturbed(tmp_path: Path) -> None:
    """The staging folder of another command stays, and both commands end as if alone."""
    with staged(tmp_path) as one:
        (one / "a").write_text("one")
        write_atomically(tmp_path / "b", b"two")
        with staged(tmp_path) as other:
            (other / "c").write_text("three")
        recover(tmp_path)
        assert (one / "a").exists()
    assert contents(tmp_path) == {"a": "one", "b": "two", "c": "three"}


def test_recover_within_a_replacement(tmp_path: Path) -> None:
    """The function that checks the folder may call `recover`, which does not wait for its own process."""

    def check() -> list[str]:
        recover(tmp_path)
        return names_in(tmp_path)

    started = time.monotonic()
    (tmp_path / "a").write_text("old")
    with staged(tmp_path, check) as new:
        (new / "b").write_text("new")
    assert contents(tmp_path) == {"b": "new"} and time.monotonic() - started < 5


@pytest.mark.parametrize("names", [["../victim"], ["/etc"], [".."], [""], "ab", {"a": 1}, [1], None])
def test_hostile_commit(tmp_path: Path, names: object) -> None:
    """A list of files from an untrusted folder cannot name files outside it; then nothing is moved."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a").write_text("old")
    interrupted(tmp_path / "run", names, {"a": "new"})
    recover(tmp_path / "run")
    assert contents(tmp_path) == {"victim": "precious", "run": None, "run/a": "old"}


@pytest.mark.parametrize("part", [NEW, OLD, COMMIT, "stage"])
def test_hostile_links(tmp_path: Path, part: str) -> None:
    """Links in a staging folder cannot move files out of other folders, or into them."""
    (home := tmp_path / "home").mkdir()
    (home / "key").write_text("precious")
    (run := tmp_path / "run").mkdir()
    (run / "a").write_text("old")
    stage = interrupted(run, ["a"], {})
    if part == "stage":
        stage.rename(home / "stage")
        stage.symlink_to(home / "stage")
    elif part == COMMIT:
        (stage / part).unlink()
        os.mkfifo(stage / part)
    else:
        (stage / part).rmdir()
        (stage / part).symlink_to(home)
    recover(run)
    assert (home / "key").read_text() == "precious" and (run / "a").read_text() == "old"
    assert names_in(run) == ["a"]


@pytest.mark.parametrize("failing", range(5))
def test_failed_move_is_undone(tmp_path: Path, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If any rename fails, all earlier files are back, and nothing else remains."""
    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    rename, calls = os.rename, []

    def full(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == failing + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    message = "could not write to .*: No space left on device. Earlier files in it are unchanged"
    fails = pytest.raises(SdekitError, match=message) if failing < 4 else pytest.raises(KeyboardInterrupt)
    with fails, staged(tmp_path, lambda: ["b"]) as new:
        (new / "a").write_text("new")
        (new / "c").write_text("new")
        if failing == 4:
            raise KeyboardInterrupt
    assert contents(tmp_path) == {"a": "old", "b": "old"}


def test_replacement_that_cannot_be_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a read-only file system a reader gets a message, and the new files are not lost."""
    (tmp_path / "a").write_text("old")
    interrupted(tmp_path, ["a"], {"a": "new"})

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(
            SdekitError, match=r"was killed while it replaced .*Read-only file system.* make the folder w"
        ):
            recover(tmp_path)
    recover(tmp_path)
    assert contents(tmp_path) == {"a": "new"}


def test_files_that_came_meanwhile(tmp_path: Path) -> None:
    """If the folder must not be replaced any more, the new files are moved beside it."""

    def refuse() -> list[str]:
        raise InputError("it contains precious files")

    (out := tmp_path / "out").mkdir()
    (out / "a").write_text("precious")
    (tmp_path / "out-2").mkdir()
    message = "precious files. Another program wrote .* the new files are in .*out-3"
    with pytest.raises(SdekitError, match=message), staged(out, refuse) as new:
        (new / "a").write_text("new")
    assert contents(tmp_path) == {"out": None, "out/a": "precious", "out-2": None, "out-3": None, "out-3/a": "new"}


@pytest.mark.parametrize("name", ["x" * 255, "a b\n'é"])
def test_names(tmp_path: Path, name: str) -> None:
    """The longest names of the file system can be written, and unusual ones."""
    write_atomically(tmp_path / name, b"text")
    with staged(tmp_path / "folder") as new:
        (new / name).write_text("text")
    assert os.listdir(tmp_path / "folder") == [name] and (tmp_path / name).read_text() == "text"


@pytest.mark.parametrize("path", ["x" * 300, "file/x", "loop/x"])
def test_impossible_names(tmp_path: Path, path: str) -> None:
    """A path that cannot exist is one message."""
    (tmp_path / "file").write_text("text")
    (tmp_path / "loop").symlink_to("loop")
    for write in (lambda: write_atomically(tmp_path / path, b"text"), lambda: staged(tmp_path / path).__enter__()):
        with pytest.raises(SdekitError, match="could not"):
            write()
