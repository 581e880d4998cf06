"""Small image folders and IDX files for each test."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def save() -> Callable[..., Path]:
    """save(file, width, height, value, mode="RGB"): a PNG (or what the suffix says) of one colour."""

    def write(file: Path, width: int = 8, height: int = 8, value: int | tuple[int, ...] = 0, mode: str = "RGB") -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (width, height), value).save(file)
        return file

    return write


@pytest.fixture
def classes(tmp_path: Path, save: Callable[..., Path]) -> Path:
    """Folder `pets`: two classes of three 8x8 images; image number i, in the order of paths, has red = 10 i."""
    for i, name in enumerate(["cat/a", "cat/b", "cat/deep/c", "dog/a", "dog/b", "dog/c"]):
        save(tmp_path / "pets" / f"{name}.png", value=(10 * i, 100, 200))
    save(tmp_path / "pets" / ".hidden.png")
    save(tmp_path / "pets" / "__MACOSX" / "x.png")
    (tmp_path / "pets" / "readme.txt").write_text("no image")
    return tmp_path / "pets"


@pytest.fixture
def zipped() -> Callable[..., Path]:
    """zipped(folder, file, wrapper="", method=ZIP_STORED): all files of the folder in a zip."""

    def write(folder: Path, file: Path, wrapper: str = "", method: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(file, "w", method) as archive:
            for path in sorted(folder.rglob("*"), reverse=True):
                archive.write(path, wrapper + str(path.relative_to(folder)))
        return file

    return write


@pytest.fixture
def idx() -> Callable[..., Path]:
    """idx(file, array, cut=None): an IDX file of unsigned bytes, gzipped if its name says so, cut to that length."""

    def write(file: Path, array: np.ndarray, cut: int | None = None) -> Path:
        header = struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape)
        data = (header + array.astype(np.uint8).tobytes())[:cut]
        file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
        return file

    return write
