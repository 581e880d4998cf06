"""Folders and zip files of images: labels, streaming, sizes, and damaged files."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sdekit.data.formats import image_files as module, images
from sdekit.errors import InputError, SdekitError

Save = Callable[..., Path]


def test_batch(classes: Path) -> None:
    data = images(str(classes))
    assert (len(data), data.shape, data.kind) == (6, (3, 8, 8), "image")
    assert data.classes == 2 and data.class_names == ("cat", "dog") and data.filter == "lanczos"
    order = np.array([5, 0, 3, 3, 1])
    x, y = data.batch(order)
    assert x.dtype == torch.float32 and x.is_contiguous() and y is not None and y.tolist() == [1, 0, 1, 1, 0]
    pixels = data.units.to_data(x)
    np.testing.assert_allclose(pixels[:, 0, 4, 4], 10 * order, atol=1e-4)
    np.testing.assert_allclose(pixels[:, 1:, 4, 4], [[100, 200]] * 5, atol=1e-4)
    assert order.tolist() == [5, 0, 3, 3, 1] and data.batch([]).x.shape == (0, 3, 8, 8)


@pytest.mark.parametrize("size", [None, 5])
@pytest.mark.parametrize("wrapper", ["", "pets/"])
def test_zip_equals_folder(classes: Path, zipped: Callable[..., Path], size: int | None, wrapper: str) -> None:
    packed = images(str(zipped(classes, classes.parent / "pets.zip", wrapper)), size=size)
    folder = images(str(classes), size=size)
    assert packed.class_names == folder.class_names
    for a, b in zip(packed.batch(range(6)), folder.batch(range(6)), strict=True):
        assert a is not None and b is not None and torch.equal(a, b)


def test_unlabelled(classes: Path, save: Save) -> None:
    save(classes / "loose.png")
    data = images(str(classes))
    assert len(data) == 7 and data.classes == 0 and data.class_names == () and data.batch([0]).y is None
    assert images(str(classes / "cat")).classes == 0  # its only sub-folder lies beside images


def test_one_folder_is_no_class(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "only" / "a.png")
    assert images(str(tmp_path)).classes == 0


def test_splits_are_no_classes(tmp_path: Path, save: Save, zipped: Callable[..., Path]) -> None:
    save(tmp_path / "all" / "train" / "a.png")
    save(tmp_path / "all" / "train" / "b.png")
    save(tmp_path / "all" / "test" / "a.png")
    with pytest.raises(InputError, match="test, train are splits of one data set.*pass images:.*/all/train"):
        images(str(tmp_path))
    with pytest.raises(InputError, match="test, train are splits of one data set.*pass images:.*/train"):
        images(str(tmp_path / "all"))
    with pytest.raises(InputError, match="pass a zip file of 'train' only"):
        images(str(zipped(tmp_path / "all", tmp_path / "all.zip")))


def test_grey_and_mixed(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "a.png", value=50, mode="L")
    save(tmp_path / "b.jpg", value=60, mode="L")
    assert images(str(tmp_path)).shape == (1, 8, 8)
    save(tmp_path / "c.png", value=(1, 2, 3))
    data = images(str(tmp_path))
    assert data.shape == (3, 8, 8)
    np.testing.assert_allclose(data.units.to_data(data.batch([0]).x)[0, :, 0, 0], [50, 50, 50], atol=1e-4)


def test_sizes(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "a.png", 8, 6)
    save(tmp_path / "b.webp", 8, 6)
    assert images(str(tmp_path)).shape == (3, 6, 8)
    save(tmp_path / "c.png", 7, 9)
    with pytest.raises(InputError, match="'a.png' has 8x6 pixels and 'c.png' 7x9; pass --size N"):
        images(str(tmp_path))
    data = images(str(tmp_path), size=4)
    assert data.shape == (3, 4, 4) and data.batch([0, 1, 2]).x.shape == (3, 3, 4, 4)
    with pytest.raises(InputError, match="size = 0"):
        images(str(tmp_path), size=0)


@pytest.mark.parametrize("size", [None, 4])
def test_bad_header(classes: Path, size: int | None) -> None:
    (classes / "cat" / "b.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"cannot decode 'cat/b.png' .*--skip-bad"):
        images(str(classes), size=size)
    data = images(str(classes), size=size, skip_bad=True)
    assert len(data) == 5 and data.skipped == ("cat/b.png",)
    x, y = data.batch([1, 2])
    assert y is not None and y.tolist() == [0, 1]
    np.testing.assert_allclose(data.units.to_data(x)[:, 0, 2, 2], [20, 30], atol=1e-4)


def damage(file: Path) -> None:
    """Leave the header and cut the pixels off."""
    file.write_bytes(file.read_bytes()[:45])


def test_bad_pixels(classes: Path) -> None:
    damage(classes / "dog" / "c.png")
    with pytest.raises(SdekitError, match=r"cannot decode 'dog/c.png' .*--skip-bad") as caught:
        images(str(classes)).batch([0, 5])
    assert caught.value.exit_code == 1
    damage(classes / "cat" / "deep" / "c.png")
    data = images(str(classes), skip_bad=True)
    for _ in range(2):
        x, y = data.batch([5, 2, 0])
        np.testing.assert_allclose(data.units.to_data(x)[:, 0, 2, 2], [0, 30, 0], atol=1e-4)
        assert y is not None and y.tolist() == [0, 1, 0]
    assert len(data) == 6 and sorted(data.skipped) == ["cat/deep/c.png", "dog/c.png"]


def test_all_bad(classes: Path) -> None:
    data = images(str(classes), skip_bad=True)
    for file in classes.rglob("*.png"):
        file.unlink()
    with pytest.raises(SdekitError, match="none of the 6 files"):
        data.batch([0])
    (classes / "a.png").write_text("bad")
    with pytest.raises(InputError, match="none of the 1 files can be decoded"):
        images(str(classes), skip_bad=True)


def test_a_file_that_changed_size(classes: Path, save: Save) -> None:
    data = images(str(classes))
    save(classes / "cat" / "a.png", 9, 9)
    with pytest.raises(SdekitError, match=r"cat/a.png.*its shape is \(3, 9, 9\); it was"):
        data.batch([0])


def test_nothing_is_read_before_it_is_asked_for(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def record(data: bytes, size: int | None, channels: int) -> np.ndarray:
        decoded.append(data)
        return np.zeros((channels, 8, 8), np.uint8)

    monkeypatch.setattr(module, "decode_image", record)
    data = images(str(classes))
    assert not decoded
    data.batch([3, 3])
    assert decoded == [(classes / "dog" / "a.png").read_bytes()] * 2


def test_large_folders_are_sampled(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCAN_LIMIT", 2)  # the first and the last
    (classes / "cat" / "b.png").write_bytes(b"not an image")
    data = images(str(classes), size=8)
    assert len(data) == 6
    with pytest.raises(SdekitError, match="cat/b.png"):
        data.batch([1])
    with pytest.raises(InputError, match="cat/b.png"):
        images(str(classes))


def test_labels_without_decoding(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images(str(classes))
    monkeypatch.setattr(type(data), "_decode", None)
    labels = data.labels_of(np.array([5, 0, 3]))
    assert labels is not None and labels.tolist() == [1, 0, 1] and labels.dtype == torch.int64
    assert images(str(classes / "cat")).labels_of([0]) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_batch_in_a_forked_child(classes: Path) -> None:
    """Also where the parent's threads, which the child has not, have read before."""
    data = images(str(classes))
    expected = data.batch([0, 1, 2]).x
    queue = multiprocessing.get_context("fork").SimpleQueue()
    child = multiprocessing.get_context("fork").Process(
        target=lambda: queue.put(data.batch([0, 1, 2]).x.numpy().tobytes()), daemon=True
    )
    child.start()
    child.join(20)
    hangs = child.is_alive()
    child.kill()
    assert not hangs and queue.get() == expected.numpy().tobytes()
    assert torch.equal(data.batch([0, 1, 2]).x, expected)


@pytest.mark.parametrize("packed", [False, True])
def test_pickled(classes: Path, zipped: Callable[..., Path], packed: bool) -> None:
    """A copy in another process reads the same, through a file of its own."""
    data = images(str(zipped(classes, classes.parent / "pets.zip") if packed else classes))
    expected = data.batch([4, 1])
    written = pickle.dumps(data)
    if packed:
        del data  # closes its file
    copy = pickle.loads(written)
    for a, b in zip(copy.batch([4, 1]), expected, strict=True):
        assert torch.equal(a, b)
    assert copy.class_names == ("cat", "dog")
