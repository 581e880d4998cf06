"""Choice of the image files in a folder, and reading of zip files."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sdekit.data.formats import image_sources as module
from sdekit.data.formats.image_sources import open_source
from sdekit.errors import InputError


def test_folder(classes: Path) -> None:
    source = open_source(str(classes))
    names = [source.names[i] for i in range(len(source.names))]
    assert names == ["cat/a.png", "cat/b.png", "cat/deep/c.png", "dog/a.png", "dog/b.png", "dog/c.png"]
    assert source.folders == ("cat", "dog") and source.folder.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.read(4) == (classes / "dog/b.png").read_bytes() and source.read(4, 5) == source.read(4)[:5]


def test_links_in_a_circle(classes: Path) -> None:
    (classes / "cat" / "deep" / "up").symlink_to(classes)
    assert len(open_source(str(classes)).names) == 6


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("wrapper", ["", "pets/"])
def test_zip(classes: Path, zipped: Callable[..., Path], method: int, wrapper: str) -> None:
    file = zipped(classes, classes.parent / "pets.zip", wrapper, method)
    source, folder = open_source(str(file)), open_source(str(classes))
    assert source.folders == folder.folders and (source.folder == folder.folder).all()
    with ThreadPoolExecutor(4) as pool:
        for i, data in enumerate(pool.map(source.read, list(range(6)) * 50)):
            assert data == folder.read(i % 6)
    assert source.names[2] == wrapper + folder.names[2] and source.read(2, 9) == folder.read(2, 9)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_entry(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.png", b"0123456789" * 9)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[30 + len("a.png") + 4] ^= 255
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(OSError, match="damaged in the zip"):
        open_source(str(tmp_path / "a.zip")).read(0)


def test_unreadable_compression(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", b"x")
    with pytest.raises(InputError, match="'a.png' is compressed with method 14"):
        open_source(str(tmp_path / "a.zip"))


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        open_source(str(tmp_path / "no"))
    with pytest.raises(InputError, match="contains no images; expected files .png, .jpg, .jpeg"):
        open_source(str(tmp_path))
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="neither a folder nor a zip"):
        open_source(str(tmp_path / "a.zip"))
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and the rest was not copied")
    with pytest.raises(InputError, match="a zip file that is incomplete or damaged"):
        open_source(str(tmp_path / "a.zip"))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("readme.txt", b"x")
        archive.writestr("__MACOSX/a.png", b"x")
    with pytest.raises(InputError, match="contains no images"):
        open_source(str(tmp_path / "b.zip"))


def test_folder_around_everything(classes: Path) -> None:
    """It is passed over in a folder as in a zip."""
    (classes.parent / "all").mkdir()
    classes.rename(classes.parent / "all" / "pets")
    source = open_source(str(classes.parent / "all"))
    assert source.folders == ("cat", "dog") and source.folder.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.names[0] == "pets/cat/a.png" and source.read(0)[1:4] == b"PNG"


def test_zip_of_windows(tmp_path: Path, save: Callable[..., Path]) -> None:
    """Backslashes in a zip file separate folders."""
    image = save(tmp_path / "a.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cat\\a.png", "dog\\CON.png"):
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, image)
    source = open_source(str(tmp_path / "a.zip"))
    assert source.folders == ("cat", "dog") and source.read(1) == image


def test_zip_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that unpacks to more than the limit, or whose size is wrong, is refused without unpacking it."""
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(20_000))
        archive.writestr("b.png", bytes(9_000))
    source = open_source(str(tmp_path / "a.zip"))
    with pytest.raises(OSError, match="larger than"):
        source.read(0)
    assert len(source.read(1)) == 9_000
    data = (tmp_path / "a.zip").read_bytes()
    for size in (5_000, 9_999, 2**32 - 2):  # in the directory
        (tmp_path / "a.zip").write_bytes(data.replace(struct.pack("<I", 9_000), struct.pack("<I", size)))
        with pytest.raises(OSError, match="larger than|damaged"):
            open_source(str(tmp_path / "a.zip")).read(1)


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    """A pipe or device as the path is refused before it is opened."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(InputError, match="a device, a pipe or a socket; expected a folder or zip file of images"):
            open_source(str(path))
