"""Folders of results: only earlier results are replaced, all at once, and failures change nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.errors import InputError, SdekitError
from sdekit.runs import check_results_folder, results
from sdekit.runs.results import staged_results

CLI = Callable[..., Any]
HOW = ("--solver", "ddim", "--steps", 2)
RECORD = json.dumps({"run": "run", "seeds": [0], "sha256": "0"})


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder: bytes of files, None for folders."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Context manager in which longer files cannot be written, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def given(folder: Path, files: dict[str, str]) -> Path:
    """Write files into a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"images/holiday.jpg": "precious"}, "contains other files (images/holiday.jpg, ...)"),
        ({"images/0.png": "precious"}, "contains images and no record of sdekit"),
        ({"samples.npy": "precious"}, "contains samples.npy and no record of sdekit"),
        ({"sample.json": '{"freq": 44100}'}, "contains sample.json and no record of sdekit"),
        ({"sample.json": RECORD, "images/holiday.jpg": "precious"}, "contains other files (images/holiday.jpg, ...)"),
        ({"sample.json": RECORD, "images/007.png": "precious"}, "contains other files (images/007.png, ...)"),
        ({"sample.json": RECORD, "samples.npy/mine": "precious"}, "contains other files (samples.npy, ...)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_somebody_s_is_not_replaced(
    refused: CLI, digits_run: Path, tmp_path: Path, files: dict[str, str], message: str
) -> None:
    """Files of other programs are not replaced, with --overwrite neither."""
    out = given(tmp_path / "album", files)
    assert message in refused("sample", digits_run, "-n", 2, *HOW, "--out", out, "--overwrite")


def test_a_link_is_not_followed(refused: CLI, sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """If images/ is a link, nothing is deleted on either side of it."""
    album = given(tmp_path / "album", {"0.png": "precious"})
    assert sdekit("sample", digits_run, "-n", 1, *HOW, "--out", tmp_path / "s").code == 0
    (tmp_path / "s" / "images" / "0.png").unlink()
    (tmp_path / "s" / "images").rmdir()
    (tmp_path / "s" / "images").symlink_to(album, target_is_directory=True)
    again = ("sample", digits_run, "-n", 1, *HOW, "--out", tmp_path / "s", "--overwrite")
    assert "contains other files (images, ...)" in refused(*again)


@pytest.mark.parametrize("cut", ["samples.npy", "sample.json"])
def test_a_full_disk_loses_nothing(sdekit: CLI, digits_run: Path, tmp_path: Path, cut: str) -> None:
    """If --overwrite fails, the earlier results are unchanged, and a new folder is removed."""
    command = ("sample", digits_run, *HOW, "--seeds", "5", "--overwrite", "--out")
    assert sdekit(*command, tmp_path / "s").code == 0
    before, room = contents(tmp_path), (tmp_path / "s" / cut).stat().st_size - 100
    for out in (tmp_path / "s", tmp_path / "new" / "place"):
        with files_of_at_most(room):
            result = sdekit(*command, out)
        assert result.code == 1 and "Traceback" not in result.err and " unchanged" in result.err
        assert contents(tmp_path) == before
    assert sdekit("sample", digits_run, *HOW, "-n", 2, "--overwrite", "--out", tmp_path / "s").code == 0
    assert sorted(os.listdir(tmp_path / "s")) == ["grid.png", "images", "sample.json", "samples.npy"]
    assert sorted(os.listdir(tmp_path / "s" / "images")) == ["0.png", "1.png"]


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a move into place fails, the earlier moves are undone; so they are after Ctrl-C."""
    out = given(tmp_path / "s", {"sample.json": RECORD, "samples.npy": "old", "images/0.png": "old"})
    before, rename = contents(tmp_path), os.rename

    def full(source: Path, target: Path) -> None:
        if Path(target) == out / "samples.npy" and "new" in Path(source).parts:
            raise OSError(28, "No space left on device")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        failing = pytest.raises(SdekitError, match="No space left on device. Earlier files in it are unchanged")
        with failing, staged_results(out, overwrite=True) as new:
            given(new, {"sample.json": "new", "samples.npy": "new", "grid.png": "new"})
    assert contents(tmp_path) == before
    with pytest.raises(KeyboardInterrupt), staged_results(out, overwrite=True) as new:
        (new / "samples.npy").write_text("new")
        raise KeyboardInterrupt
    assert contents(tmp_path) == before
    with staged_results(out, overwrite=True) as new:
        given(new, {"sample.json": "new", "samples.npy": "new"})
    assert contents(out) == {"sample.json": b"new", "samples.npy": b"new"}


def test_results_that_came_meanwhile(
    sdekit: CLI, digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another process writes results to the folder first, the later results are stored beside it."""
    out, slow = tmp_path / "s", results.staged_results

    def overtaken(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(results, "staged_results", slow)
        assert sdekit("sample", digits_run, "--seeds", "7", *HOW, "--out", out).code == 0
        return slow(*arguments, **options)

    (tmp_path / "s-2").mkdir()
    monkeypatch.setattr(results, "staged_results", overtaken)
    result = sdekit("sample", digits_run, "--seeds", "5", *HOW, "--out", out)
    assert result.code == 1 and "already contains samples: choose another folder" in result.err
    assert f"the new samples are in {tmp_path / 's-3'}" in result.err
    for place, seed in (("s", 7), ("s-3", 5)):
        assert json.loads((tmp_path / place / "sample.json").read_text())["seeds"] == [seed]
        assert np.load(tmp_path / place / "samples.npy").shape == (1, 1, 8, 8)
    assert sorted(os.listdir(out)) == sorted(os.listdir(tmp_path / "s-3")) and not list(tmp_path.glob("*/.*"))


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be read is refused."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="cannot be read \\(Permission denied\\): choose another folder"):
        check_results_folder(tmp_path, overwrite=True)
