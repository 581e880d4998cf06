"""Folders of images are classes, splits or shards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sdekit.data.formats.folder_classes import classes_of_folders, refuse_splits
from sdekit.data.formats.image_sources import Source, open_source
from sdekit.data.formats.label_files import labels_of_images
from sdekit.errors import InputError


def source(folder: Path, names: str) -> Source:
    """Image files with these relative paths, without content."""
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return open_source(str(folder))


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        ("10/a.png 9/a.png 0/a.png", "0 9 10", [0, 2, 1]),
        ("class2/a.png class10/b.png", "class2 class10", [1, 0]),
        ("data/all/cat/a.png data/all/dog/x/b.png", "cat dog", [0, 1]),
        ("train/cat/a.png train/dog/b.png", "cat dog", [0, 1]),
        ("train/a.png bus/b.png car/c.png", "bus car train", [0, 1, 2]),
        ("test_tube/a.png train_station/b.png", "test_tube train_station", [0, 1]),
        ("00000/00000_00000.png 00001/00000_00000.png", "00000 00001", [0, 1]),
        ("0000/5.png 0000/7.png 0001/6.png", "0000 0001", [0, 0, 1]),
        ("0/0.png 1/1.png 2/2.png", "0 1 2", [0, 1, 2]),
        ("img1/a.png batch1/b.png", "batch1 img1", [0, 1]),
        ("aa/cat.png bb/dog.png", "aa bb", [0, 1]),
    ],
)
def test_classes(tmp_path: Path, names: str, classes: str, labels: list[int]) -> None:
    """Folders around all images are ignored, and numbers in names sort as numbers."""
    files = source(tmp_path, names)
    refuse_splits(files, "photos")
    found, class_names, notes = classes_of_folders(files, "photos")
    assert found is not None and found.tolist() == labels and class_names == tuple(classes.split())
    assert notes == ("the classes are the folders of the images",)


@pytest.mark.parametrize(
    "names",
    [
        "00000/img00000000.png 00000/img00000001.png 00001/img00000002.png dataset.txt",
        "00000/00000.png 00000/00999.png 01000/01000.png",
        "00000/a.png 00001/b.png",
        "img1/0.png img2/0.png img10/0.png",
        "part-0001/a.png part-0002/a.png",
        "shard_0_of_2/a.png shard_1_of_2/a.png",
        "1f/1f03ab9912.png a0/a0ffee00.png",
    ],
)
def test_shards(tmp_path: Path, names: str) -> None:
    """Shards are no classes; a note says so and names the option that makes them classes."""
    found, class_names, (note,) = classes_of_folders(source(tmp_path, names), "photos")
    assert found is None and class_names == ()
    assert "are numbered shards, not classes (--option data.labels=folders makes them classes)" in note
    found, class_names, _ = classes_of_folders(open_source(str(tmp_path)), "photos", chosen=True)
    assert found is not None and len(class_names) == len({name.split("/")[0] for name in names.split() if "/" in name})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("train/a.png train/b.png test/c.png", "its folders test, train are splits of one data set, not classes"),
        ("all/Train/cat/a.png all/Validation/cat/b.png", "Train, Validation are splits of one data set"),
        ("test/a.png val/b.png", "test, val are splits of one data set"),
        ("train/a.png test/b.png extra/c.png", "test, train are splits of one data set"),
        ("train_images/a.png test_images/b.png", "test_images, train_images are splits of one data set"),
        (
            "trainA/a.png trainB/b.png testA/c.png testB/d.png",
            "testA, testB, trainA, trainB are splits of one data set",
        ),
        ("cifar-train/a.png cifar-test/b.png", "cifar-test, cifar-train are splits of one data set"),
        ("cat/train/a.png cat/test/b.png dog/train/c.png", "the folders test, train below its folders are splits"),
        ("data/test/cat/a.png data/test/dog/b.png", "its folder test is a test or validation split"),
        ("a.png b.png val_images/c.png", "its folder val_images is a test or validation split"),
    ],
)
def test_splits_are_refused(tmp_path: Path, names: str, message: str) -> None:
    """The message names the folder to pass, and never proposes the test split if there is another one."""
    files = source(tmp_path, names)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        refuse_splits(files, str(tmp_path))
    for choice in ("auto", "none"):
        with pytest.raises(InputError, match=re.escape(message)):
            labels_of_images(files, str(tmp_path), choice)
    if "pass images:" in str(error.value):
        place = Path(str(error.value).partition("pass images:")[2])
        assert place.is_dir() and ("train" in place.name.lower() or "train" not in names.lower())


def test_images_beside_folders(tmp_path: Path) -> None:
    """Then the folders are no classes, which a note says, and cannot be chosen as classes."""
    files = source(tmp_path, "cat/a.png dog/b.png loose.png")
    found, names, (note,) = classes_of_folders(files, "photos")
    assert found is None and names == () and "images lie beside the folders cat, dog" in note
    with pytest.raises(InputError, match="cannot be classes: images lie beside its folders"):
        classes_of_folders(files, "photos", chosen=True)
    with pytest.raises(InputError, match="cannot be classes: it has no folders"):
        classes_of_folders(open_source(str(tmp_path / "cat")), "photos", chosen=True)
