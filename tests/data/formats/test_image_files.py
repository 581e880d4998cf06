"""Folders and zip files of images: labels, streaming, sizes, and damaged files."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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

    def record(data: bytes, size: object, channels: int, **options: object) -> np.ndarray:
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


def test_other_formats_and_suffixes(tmp_path: Path, save: Save) -> None:
    """BMP, TIFF, GIF and PPM files are read like PNG files, whatever the case of their suffix."""
    for name in ("a.png", "b.BMP", "c.tif", "d.TIFF", "e.gif", "f.ppm", "deep/er/g.JPG", "h.jfif", "i.webp"):
        save(tmp_path / name, value=(200, 200, 200))
    data = images(str(tmp_path))
    assert len(data) == 9 and np.allclose(data.units.to_data(data.batch(range(9)).x), 200, atol=2)


@pytest.mark.parametrize("packed", [False, True])
def test_files_that_are_left_out_are_counted(
    tmp_path: Path, save: Save, zipped: Callable[..., Path], packed: bool
) -> None:
    """Every file that is not read is counted by its suffix and one of each kind is named."""
    folder = tmp_path / "all"
    save(folder / "a.png")
    save(folder / ".hidden.png")
    for name in ("b.heic", "c.HEIC", "d.txt", "noext", "sub/e.avif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    path = zipped(folder, tmp_path / "all.zip") if packed else folder
    report = "; ".join(images(str(path)).notes)
    for part in ("2 .heic (b.heic, ...)", "1 .txt (d.txt)", "1 without a suffix (noext)"):
        assert part in report, report
    assert "1 .avif (sub/e.avif)" in report and "1 hidden (.hidden.png)" in report
    (folder / "a.png").unlink()
    with pytest.raises(InputError, match="contains no images.*it contains 2 .heic"):
        images(str(folder))


def test_special_files_are_left_out(tmp_path: Path, save: Save) -> None:
    """Pipes, devices and links that lead nowhere are not opened, and folders behind several links are read once."""
    save(tmp_path / "one" / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle.png").symlink_to("circle.png")
    for i in range(12):  # folders that link to each other have 12! paths
        (tmp_path / f"f{i}").mkdir()
        for j in range(12):
            (tmp_path / f"f{i}" / f"l{j}").symlink_to(tmp_path / f"f{j}")
    deepest = tmp_path / "deep"
    for _ in range(300):
        deepest = deepest / "d"
    deepest.mkdir(parents=True)
    data = images(str(tmp_path))
    report = "; ".join(data.notes)
    assert len(data) == 1 and "4 devices, pipes or broken links" in report
    assert "144 links to folders that are read already" in report


def test_rectangles(tmp_path: Path, save: Save) -> None:
    """The size "WxH" gives images of width W and height H, cut from the centre."""
    save(tmp_path / "a.png", 100, 50)
    save(tmp_path / "b.png", 30, 90)
    data = images(str(tmp_path), size="64x48")
    assert data.shape == (3, 48, 64) and data.batch([0, 1]).x.shape == (2, 3, 48, 64)
    assert images(str(tmp_path), size="16").shape == (3, 16, 16)
    for wrong in ("64x", "x", "0x4", "-3", "4x4x4", 0, 99999, "1" * 5000):
        with pytest.raises(InputError, match="WIDTHxHEIGHT"):
            images(str(tmp_path), size=wrong)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("size", [None, 4])
def test_sixteen_bits_keep_their_depth(tmp_path: Path, suffix: str, size: int | None) -> None:
    """The range of the numbers is mapped to [-1, 1], and the units recover the numbers."""
    numbers = np.arange(64, dtype=np.uint16).reshape(8, 8) * 10 + 100
    for i in range(2):
        Image.fromarray(numbers + 383 * i).save(tmp_path / f"{i}.{suffix}")  # 10 of 16 bits
    data = images(str(tmp_path), size=size)
    x = data.batch([0, 1]).x
    assert data.shape == (1, size or 8, size or 8) and "have 16 or 32 bits" in data.notes[0]
    if size is None:
        assert (data.units.low, data.units.high) == (100, 1113) and x.min() == -1 and x.max() == 1
        assert np.abs(data.units.to_data(x)[0, 0] - numbers).max() < 1e-3
    rounded = images(str(tmp_path), depth=8)
    assert rounded.units.high == 255 and rounded.notes[-1] == "2 16-bit images are converted to grey of 8 bits"
    assert "the largest pixel of 2 images is 4 of 255" in rounded.notes[0]


def test_floating_point_images(tmp_path: Path, save: Save) -> None:
    """Numbers of TIFF files in float32 are read as they are; numbers that are not finite are refused."""
    numbers = np.linspace(-3, 5, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(numbers).save(tmp_path / "a.tif")
    Image.fromarray(np.arange(64, dtype=np.int32).reshape(8, 8) * 1000).save(tmp_path / "b.tif")
    data = images(str(tmp_path))
    assert data.units.low == -3 and data.units.high == 63000
    assert np.abs(data.units.to_data(data.batch([0]).x)[0, 0] - numbers).max() < 0.01
    save(tmp_path / "c.png", mode="L")
    with pytest.raises(InputError, match="'a.tif' has 32 bits and 'c.png' 8 bits.*data.depth=8"):
        images(str(tmp_path))
    (tmp_path / "c.png").unlink()
    numbers[0, 0] = np.nan
    Image.fromarray(numbers).save(tmp_path / "b.tif")
    with pytest.raises(InputError, match="b.tif.*not finite"):
        images(str(tmp_path))
    assert len(images(str(tmp_path), skip_bad=True).skipped) == 1


def test_conversions_are_reported(tmp_path: Path, save: Save) -> None:
    """The notes count palette, 1-bit, CMYK and grey images, transparency, several frames and 16-bit colours."""
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", mode="P")
    save(tmp_path / "c.png", mode="1")
    save(tmp_path / "d.jpg", mode="CMYK", value=(0, 0, 0, 0))
    save(tmp_path / "e.png", mode="LA", value=(0, 0))
    save(tmp_path / "f.png", mode="RGBA", value=(0, 0, 0, 0))
    frames = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / "g.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "h.png").write_bytes(png_file(8, 8, 16, 2, zlib.compress((b"\0" + bytes(6 * 8)) * 8)))
    data = images(str(tmp_path))
    report = "; ".join(data.notes)
    for part in (
        "1 palette images are converted to colour",
        "1 1-bit images",
        "1 CMYK images",
        "1 grey images",
        "2 images have an alpha channel or a transparent colour: transparent pixels are blended with white",
        "1 files contain several frames",
        "1 colour images of 16 bits are read with 8 bits",
    ):
        assert part in report, report
    black = images(str(tmp_path), background="black")
    assert data.batch([5]).x.max() == 1 and black.batch([5]).x.max() == -1
    with pytest.raises(InputError, match="background = nocolour"):
        images(str(tmp_path), background="nocolour")


def png_file(width: int, height: int, bits: int, kind: int, scanlines: bytes) -> bytes:
    """A PNG file with these compressed scanlines."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", scanlines) + chunk(b"IEND", b"")


def test_huge_pictures(tmp_path: Path, save: Save) -> None:
    """A small file that claims 169 million pixels, or a file of a terabyte, is refused or skipped."""
    save(tmp_path / "a.png")
    for width in (13_000, 60_000):
        (tmp_path / "b.png").write_bytes(png_file(width, width, 8, 0, zlib.compress(b"")))
        with pytest.raises(InputError, match="'b.png'.*million"):
            images(str(tmp_path), size=8)
    with open(tmp_path / "b.png", "r+b") as sparse:
        sparse.truncate(2**40)
    (tmp_path / "c.gif").symlink_to("b.png")
    data = images(str(tmp_path), size=8, skip_bad=True)
    assert len(data) == 1 and data.skipped == ("b.png", "c.gif")


def test_masks_of_small_values(tmp_path: Path) -> None:
    """Images of 8 bits that are nearly black are reported, and their range can be mapped to [-1, 1]."""
    for i in range(2):
        Image.fromarray((np.eye(8) * (i + 1)).astype(np.uint8)).save(tmp_path / f"{i}.png")
    assert "the largest pixel of 2 images is 2 of 255" in images(str(tmp_path)).notes[0]
    data = images(str(tmp_path), scale="global")
    assert (data.units.low, data.units.high) == (0, 2) and data.batch([0, 1]).x.unique().tolist() == [-1, 0, 1]
    assert "the images have 8 bits: the range" in data.notes[0]


def test_images_of_many_bands(tmp_path: Path) -> None:
    """A TIFF image of more than four bands is refused, because Pillow leaves out bands."""
    entries = {256: 8, 257: 8, 258: 8, 259: 1, 262: 2, 273: 400, 277: 6, 278: 8, 279: 8 * 8 * 6, 338: 0}
    kinds = {258: (3, 6, 300), 338: (3, 3, 320)}
    directory = struct.pack("<H", len(entries))
    for tag, value in entries.items():
        kind, count, content = kinds.get(tag, (4, 1, value))
        directory += struct.pack("<HHII", tag, kind, count, content)
    content = (b"II*\0" + struct.pack("<I", 8) + directory).ljust(300, b"\0") + struct.pack("<6H", *[8] * 6)
    (tmp_path / "a.tif").write_bytes(content.ljust(400, b"\0") + bytes(8 * 8 * 6))
    with pytest.raises(InputError, match="a.tif.*6 bands.*pass array:PATH"):
        images(str(tmp_path))
