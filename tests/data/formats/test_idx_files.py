"""IDX files: choice of the file, labels, and errors."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sdekit.data.formats import mnist
from sdekit.errors import InputError

Idx = Callable[..., Path]
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
LABELS = np.array([3, 0, 1, 1, 2])


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_read(tmp_path: Path, idx: Idx, suffix: str) -> None:
    file = idx(tmp_path / f"train-images-idx3-ubyte{suffix}", IMAGES)
    idx(tmp_path / "train-labels-idx1-ubyte.gz", LABELS)
    for path in (tmp_path, file):
        data = mnist(str(path))
        assert data.shape == (1, 4, 3) and data.classes == 4
        x, y = data.batch([4, 0])
        assert np.array_equal(np.rint(data.units.to_data(x)), IMAGES[[4, 0]])
        assert y is not None and y.tolist() == [2, 3]
        assert (data.units.low, data.units.high, data.units.shift, data.units.scale) == (0, 255, 127.5, 127.5)


def test_the_test_split_is_never_chosen(tmp_path: Path, idx: Idx) -> None:
    """The training split or the only other set is read; a folder with only the test split is refused."""
    idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES[:3])
    with pytest.raises(
        InputError, match=r"contains only the test split \(t10k-images-idx3-ubyte\); pass the file itself"
    ):
        mnist(str(tmp_path))
    assert len(mnist(str(tmp_path / "t10k-images-idx3-ubyte"))) == 3
    idx(tmp_path / "aaa-images-idx3-ubyte", IMAGES[:2])
    assert len(mnist(str(tmp_path))) == 2
    idx(tmp_path / "train-images.idx3-ubyte", IMAGES)
    data = mnist(str(tmp_path))
    assert len(data) == 5 and data.classes == 0
    assert data.notes[0] == (
        "the images are read from train-images.idx3-ubyte; not used: aaa-images-idx3-ubyte, t10k-images-idx3-ubyte"
    )


def test_labels_of_another_split_are_not_used(tmp_path: Path, idx: Idx) -> None:
    """A note names them; `labels` chooses a file or none. The classes are the values that occur."""
    idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    idx(tmp_path / "t10k-labels-idx1-ubyte", LABELS[:4])
    data = mnist(str(tmp_path))
    assert data.classes == 0 and "no file train-labels-idx1-ubyte; choose another one (t10k-labels" in data.notes[0]
    idx(tmp_path / "more", LABELS * 3 + 1)
    data = mnist(str(tmp_path), labels=str(tmp_path / "more"))
    assert data.class_names == ("1", "4", "7", "10") and data.notes == ()
    idx(tmp_path / "train-labels-idx1-ubyte", LABELS)
    assert mnist(str(tmp_path)).classes == 4 and mnist(str(tmp_path), labels="none").classes == 0


def test_several_sets(tmp_path: Path, idx: Idx) -> None:
    idx(tmp_path / "emnist-a-train-images-idx3-ubyte", IMAGES)
    idx(tmp_path / "emnist-b-train-images-idx3-ubyte", IMAGES)
    with pytest.raises(InputError, match="several sets.*pass one of these files"):
        mnist(str(tmp_path))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_truncated(tmp_path: Path, idx: Idx, suffix: str) -> None:
    file = idx(tmp_path / f"train-images-idx3-ubyte{suffix}", IMAGES, cut=50)
    with pytest.raises(InputError, match="expected 76 bytes for 5 x 4 x 3, found 50 bytes"):
        mnist(str(file))
    idx(file, IMAGES, cut=9)
    with pytest.raises(InputError, match="expected a header of 16 bytes, found 9 bytes"):
        mnist(str(file))


def test_gzip_cut_short(tmp_path: Path, idx: Idx) -> None:
    file = idx(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InputError, match="expected 76 bytes"):
        mnist(str(file))


def test_gzip_damaged(tmp_path: Path, idx: Idx) -> None:
    file = idx(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    data = bytearray(file.read_bytes())
    data[-6] ^= 255  # in the checksum
    file.write_bytes(data)
    with pytest.raises(InputError, match="cannot be unpacked"):
        mnist(str(file))


def test_too_long(tmp_path: Path, idx: Idx) -> None:
    file = idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    file.write_bytes(file.read_bytes() + b"!")
    with pytest.raises(InputError, match="found more"):
        mnist(str(file))


def test_labels_file_instead_of_images(tmp_path: Path, idx: Idx) -> None:
    file = idx(tmp_path / "x", np.zeros(20))
    with pytest.raises(InputError, match="not an IDX file of images: magic number 0x00000801, expected 0x00000803"):
        mnist(str(file))


def test_labels_of_another_count(tmp_path: Path, idx: Idx) -> None:
    idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    idx(tmp_path / "train-labels-idx1-ubyte", LABELS[:4])
    with pytest.raises(InputError, match="4 labels for 5 items"):
        mnist(str(tmp_path))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        mnist(str(tmp_path / "no"))
    with pytest.raises(InputError, match="contains no IDX images; expected a file such as"):
        mnist(str(tmp_path))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_headers_that_claim_too_much(tmp_path: Path, suffix: str) -> None:
    """A header with more items than the file can contain is refused without reading or unpacking the items."""
    file = tmp_path / f"train-images-idx3-ubyte{suffix}"
    data = struct.pack(">I3I", 0x0803, *[2**32 - 1] * 3) + bytes(1000)
    file.write_bytes(gzip.compress(data) if suffix else data)
    with pytest.raises(InputError, match=r"its header states 4294967295 x .* but the file has only"):
        mnist(str(file))


def test_special_files(tmp_path: Path) -> None:
    """A link to a device is refused."""
    (tmp_path / "train-images-idx3-ubyte").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="a device, a pipe or a socket; expected an IDX file"):
        mnist(str(tmp_path))
