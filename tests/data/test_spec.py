"""Data specifications: names, paths, and suggestions for a path without a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdekit.data import parse_spec
from sdekit.errors import InputError


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("digits", ("digits", None)),
        ("images:/a/b", ("images", "/a/b")),
        ("array:a:b.npy", ("array", "a:b.npy")),
        ("acme-set", ("acme-set", None)),
        ("images:~/x", ("images", os.path.expanduser("~/x"))),
    ],
)
def test_parse(spec: str, expected: tuple[str, str | None]) -> None:
    assert parse_spec(spec) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.npy", "array"), ("a.npz", "array"), ("a.CSV", "table"), ("a.tsv", "table"), ("a.zip", "images"),
     ("train-images-idx3-ubyte.gz", "mnist"), ("folder/", "images"), ("folder/x-images-idx3-ubyte", "mnist")],
)  # fmt: skip
def test_forgotten_prefix(tmp_path: Path, name: str, kind: str) -> None:
    file = tmp_path / name
    (file if name.endswith("/") else file.parent).mkdir(exist_ok=True)
    if not name.endswith("/"):
        file.touch()
    path = file.parent if "folder/x" in name else file
    with pytest.raises(InputError, match=f"did you mean {kind}:{path}\\?"):
        parse_spec(str(path))


def test_unknown_kind_of_path(tmp_path: Path) -> None:
    (tmp_path / "data.bin").touch()
    with pytest.raises(InputError, match="did you mean array:.*data.bin or table:.* or images:"):
        parse_spec(str(tmp_path / "data.bin"))


def test_a_name_wins_over_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    (tmp_path / "photos").mkdir()
    assert parse_spec("digits") == ("digits", None)
    assert parse_spec("photos", names=["photos"]) == ("photos", None)
    with pytest.raises(InputError, match="did you mean images:photos"):
        parse_spec("photos")


@pytest.mark.parametrize(
    ("spec", "message"), [("", "expected NAME"), ("/no/such/x.npy", "no file or folder"), ("images:", "no path after")]
)
def test_bad(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_spec(spec)


def test_no_data(tmp_path: Path) -> None:
    """A run folder and a video are answered with their remedy, with and without the kind of the data."""
    (run := tmp_path / "run").mkdir()
    for name in ("config.json", "model.safetensors"):
        (run / name).touch()
    (video := tmp_path / "a.MP4").touch()
    for kind in ("", "images:"):
        with pytest.raises(InputError, match=f"{run} is a run folder, not data.*--out {run} --resume"):
            parse_spec(f"{kind}{run}")
        with pytest.raises(InputError, match="a.MP4 is a video. .*extract their frames"):
            parse_spec(f"{kind}{video}")
