"""Results of long computations: the target is checked before they start, and they are kept if writing fails."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.errors import InputError, SdekitError
from sdekit.runs import check_writable, model_step, results, write_or_keep
from sdekit.tuning import tuned

from .conftest import TINY_MLP, call


def test_targets_are_checked_without_leaving_a_file(tmp_path: Path) -> None:
    """A path below a file, a name that is too long and a device are refused; a good target stays as it is."""
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "plot.png", tmp_path / "new" / "folder", tmp_path / "file", tmp_path):
        check_writable(target, "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for target in (tmp_path / "file" / "plot.png", tmp_path / ("a" * 300), Path("/dev/null")):
        with pytest.raises(InputError, match="--plot .*: choose another path"):
            check_writable(target, "--plot")


def test_a_result_that_cannot_be_written_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names a file with the content."""

    def full(path: Path, content: bytes) -> None:
        raise SdekitError(f"could not save {path}: No space left on device")

    monkeypatch.setattr(results, "write_atomically", full)
    with pytest.raises(SdekitError, match="No space left on device. The result is kept in ") as caught:
        write_or_keep(tmp_path / "plot.png", b"a picture")
    kept = Path(re.search(r"kept in (\S+)", str(caught.value))[1])  # type: ignore[index]
    assert kept.read_bytes() == b"a picture"
    kept.unlink()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps of a tiny network."""
    out = tmp_path_factory.mktemp("kept") / "run"
    assert call("train", "--data", "moons", "--steps", 2, *TINY_MLP, "--out", out) == 0
    return out


def kept_file(message: str) -> Path:
    """Return the file that a message names."""
    match = re.search(r"kept in (\S+)", message)
    assert match, message
    return Path(match[1])


def test_tuned_times_and_samples_are_kept(
    run: Path, sdekit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk is full at the end, the result of `tune` is printed and kept, and the samples are kept."""

    def full(path: Path, *content: Any) -> None:
        raise SdekitError(f"could not save {path}: No space left on device")

    @contextmanager
    def full_folder(*arguments: Any, **options: Any) -> Iterator[Path]:
        yield Path(tempfile.mkdtemp(dir=tmp_path))
        raise SdekitError("could not write to out: No space left on device")

    monkeypatch.setattr(tuned, "save_json", full)
    few = ("--nfe", 3, "-n", 4, "--held-out", 4, "--time-limit", 5, "--json")
    result = sdekit("tune", run, "--solver", "heun", *few)
    assert result.code == 1 and json.loads(result.out)["tuned"][0]["calls"] == 3
    file = kept_file(result.err)
    assert json.loads(file.read_bytes())["calls"] == 3
    file.unlink()
    monkeypatch.setattr(results, "staged", full_folder)
    result = sdekit("sample", run, "-n", 2, "--steps", 2, "--out", tmp_path / "samples")
    file = kept_file(result.err)
    assert result.code == 1 and np.load(file).shape == (2, 2)
    file.unlink()


def test_targets_are_checked_before_the_work(run: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    """`bench --plot`, `tune`, `sample` and `export` refuse a target that cannot be written before they compute."""
    (tmp_path / "file").write_text("x")
    long = tmp_path / ("a" * 300)
    bench = ("bench", "mixture", "--nfe", 5, "-n", 2, "--solver", "ddim", "--plot")
    assert "cannot be written" in refused(*bench, f"{long}.png")
    for command in (("sample", run, "-n", 1), ("export", run, "--format", "torch"), ("train-classifier", run)):
        assert re.search("cannot be|is a file", refused(*command, "--out", tmp_path / "file" / "out"))
        assert re.search("cannot be|too long", refused(*command, "--out", long))


def test_a_classifier_is_replaced_on_request_only(run: Path, sdekit: Callable[..., Any], tmp_path: Path) -> None:
    """`train-classifier --overwrite` replaces a classifier, but no run."""
    out = tmp_path / "judge"
    every = ("--option", "train.checkpoint_every=1", "--option", "network.width=8", "--option", "network.depth=1")
    assert sdekit("train-classifier", run, "--steps", 1, *every, "--out", out).code == 0
    assert "is not empty" in sdekit("train-classifier", run, "--steps", 3, *every, "--out", out).err
    assert sdekit("train-classifier", run, "--steps", 3, *every, "--out", out, "--overwrite").code == 0
    assert model_step(out) == 3
    refusal = sdekit("train-classifier", run, *every, "--out", run, "--overwrite")
    assert refusal.code == 2 and "is a run, not a classifier" in refusal.err
    assert sdekit("train-classifier", run, "--out", out, "--overwrite", "--resume").code == 2
