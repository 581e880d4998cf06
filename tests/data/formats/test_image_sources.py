"""Choice of the image files in a folder, and reading of zip files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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
