"""Label files beside images: dataset.json of StyleGAN and EDM, CSV and JSON lines, in folders and zip files."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.data.formats import images
from sdekit.data.formats.image_sources import open_source
from sdekit.data.formats.label_files import labels_of_images
from sdekit.errors import InputError

Save = Callable[..., Path]
NAMES = ("00000/img0.png", "00000/img1.png", "00001/img2.png")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three image files without content in two shards."""
    for name in NAMES:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    return tmp_path / "data"


def read(folder: Path, choice: str = "auto") -> tuple[list[str] | None, tuple[str, ...]]:
    """Return the name of the class of each image, and the notes."""
    labels, names, notes = labels_of_images(open_source(str(folder)), str(folder), choice)
    return None if labels is None else [names[label] for label in labels], notes


def pairs(*labels: Any) -> list[list[Any]]:
    return [[name, label] for name, label in zip(NAMES, labels, strict=True)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("dataset.json", {"labels": pairs(6, 1, 6)}, ["6", "1", "6"]),
        ("dataset.json", {"labels": pairs([0, 0, 1], [1, 0, 0], [0.0, 0.0, 1.0])}, ["2", "0", "2"]),
        ("dataset.json", {"labels": dict(pairs("cat", "dog", "cat"))}, ["cat", "dog", "cat"]),
        ("dataset.json", {"labels": pairs(1.0, [2], True)}, ["1.0", "2", "True"]),
        ("labels.json", dict(pairs(-1, 1, 1)), ["-1", "1", "1"]),
        ("labels.json", [{"file_name": n, "label": i % 2} for i, n in enumerate(NAMES)], ["0", "1", "0"]),
        ("labels.csv", "file,label\nimg0.png,cat\nimg1.png,dog\nimg2.png,cat\n", ["cat", "dog", "cat"]),
        ("labels.csv", "img0,10\nimg1,9\nimg2,9\n", ["10", "9", "9"]),
        ("labels.csv", "10;img0.png\n9;img1.png\n9;img2.png", ["10", "9", "9"]),
        ("labels.csv", '\ufeffid,breed\n"img0",pug\nimg1,"collie, rough"\nimg2,pug', ["pug", "collie, rough", "pug"]),
        ("labels.tsv", "split\timage\tclass\na\timg0.png\t1\na\timg1.png\t2\nb\timg2.png\t1", ["1", "2", "1"]),
        ("metadata.csv", ",file_name,label\n0,00000/img0.png,a\n1,img1.png,b\n2,00001/img2.png,a", ["a", "b", "a"]),
        ("metadata.jsonl", "\n".join(json.dumps({"file_name": n, "label": n[-5]}) for n in NAMES), ["0", "1", "2"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_formats(
    shards: Path, zipped: Callable[..., Path], name: str, content: Any, expected: list[str], packed: bool
) -> None:
    """Names are relative paths, file names or stems; labels are numbers, texts or one-hot rows."""
    expected = ["1", "2", "True"] if expected[0] == "1.0" else expected
    (shards / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    place = zipped(shards, shards.parent / "a.zip", "wrapper/") if packed else shards
    found, notes = read(place)
    assert found == expected and notes == (f"the labels are read from {name}",)
    assert str(open_source(str(place)).left_out).startswith("1 ") and read(place, "none") == (None, ())


def test_a_label_file_has_precedence_over_folders(tmp_path: Path, save: Save) -> None:
    """Classes are those of the images, and the file is not reported as left out."""
    for i, name in enumerate(("a/0.png", "a/1.png", "b/2.png")):
        save(tmp_path / name, value=(i, 0, 0))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [["a/0.png", 1], ["a/1.png", 5], ["b/2.png", 1]]}))
    data = images(str(tmp_path))
    assert (
        data.class_names == ("1", "5")
        and data.classes == 2
        and data.notes == ("the labels are read from dataset.json",)
    )
    y = data.labels_of([0, 1, 2])
    assert y is not None and y.tolist() == [0, 1, 0]
    assert images(str(tmp_path), labels="folders").class_names == ("a", "b")
    assert images(str(tmp_path), labels="none").classes == 0
    (tmp_path / "other.csv").write_text("0.png,x\n1.png,x\n2.png,y\n")
    for chosen in ("other.csv", str(tmp_path / "other.csv")):
        assert images(str(tmp_path), labels=chosen).class_names == ("x", "y")
    with pytest.raises(InputError, match=r"no label file more.csv; expected a .json, .jsonl, .csv or .tsv file"):
        images(str(tmp_path), labels="more.csv")


def test_without_labels_the_folders_decide(shards: Path) -> None:
    """dataset.json without labels, or with vectors that are no classes, gives way to the folders, with a note."""
    for labels, reason in ((None, "it contains no labels"), (pairs([0.1, 2], [1, 3], [0, 1]), "a list of 2 values")):
        (shards / "dataset.json").write_text(json.dumps({"labels": labels}))
        found, notes = read(shards)
        assert found is None and "no labels were read from dataset.json" in notes[0] and reason in notes[0]
        assert "numbered shards" in notes[1]
        with pytest.raises(InputError, match=f"dataset.json: .*{reason}"):
            read(shards, "dataset.json")
    (shards / "dataset.json").unlink()
    (shards / "metadata.csv").write_text("file_name,width,height\nimg0.png,3,4\n")
    assert "0 of its columns (file_name, width, height) may be the label" in read(shards)[1][0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": pairs(1, 2, 3)[:2]}, "1 of 3 images have no label, the first is '00001/img2.png'; --option data."),
        ({"labels": pairs(1, None, 3)}, "1 of 3 images have no label, the first is '00000/img1.png'"),
        ({"labels": [*pairs(1, 2, 3), [NAMES[0], 2]]}, "'00000/img0.png' has two labels, 1 and 2"),
        ({"labels": pairs(1, 2.5, 3)}, "label 2.5 at index 1; expected whole numbers or text"),
        ({"labels": pairs(1, float("nan"), 3)}, "label nan at index 1"),
        ("[" * 100_000, "cannot be read (too deeply nested)"),
        ("{", "cannot be read (Expecting"),
        ("\udcff", "cannot be read"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(shards: Path, content: Any, message: str) -> None:
    """An image without a label is an error that names the image and the options."""
    text = content if isinstance(content, str) else json.dumps(content)
    (shards / "dataset.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=re.escape("dataset.json of images:") + ".*" + re.escape(message)):
        read(shards)


def test_hostile_files(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links to devices, files that are too large and zip bombs are refused."""
    (shards / "dataset.json").symlink_to("/dev/zero")
    assert read(shards)[0] is None  # not a regular file
    (shards / "dataset.json").unlink()
    monkeypatch.setattr("sdekit.data.formats.label_files.MOST_BYTES", 10)
    (shards / "dataset.json").write_text(json.dumps({"labels": None}))
    with pytest.raises(InputError, match="dataset.json is larger than 0 MiB"):
        read(shards)
    monkeypatch.undo()
    with zipfile.ZipFile(shards.parent / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"")
        archive.writestr("dataset.json", b" " * 2**25)
    with pytest.raises(InputError, match="dataset.json cannot be read .it expands more than any text"):
        read(shards.parent / "bomb.zip")


def test_classes_without_good_images(tmp_path: Path, save: Save) -> None:
    """A class whose images are all damaged is no class."""
    for name in ("a", "b", "c"):
        save(tmp_path / name / "0.png")
    (tmp_path / "b" / "0.png").write_bytes(b"no image")
    data = images(str(tmp_path), skip_bad=True)
    y = data.labels_of([0, 1])
    assert data.class_names == ("a", "c") and y is not None and np.array_equal(y.numpy(), [0, 1])
