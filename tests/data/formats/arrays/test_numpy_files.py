"""NumPy files that are damaged or made to exhaust the memory are refused, quickly and with bounded memory."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sdekit.data.formats import array
from sdekit.data.formats.arrays.numpy_files import NpzFile, read_npy
from sdekit.errors import InputError
from sdekit.inverse.operators.operator_files import read_array


def npy(header: str, data: bytes = b"", *, version: int = 1, length: int | None = None) -> bytes:
    """Return a .npy file with this text as its header."""
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 * version, "little") + header.encode() + data


def text(shape: str, dtype: str = "'<f4'", order: str = "False") -> str:
    """Return the header of an array."""
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


HOSTILE = {
    "items": (npy(text("(10**30, 3)")), "header is damaged"),
    "huge": (npy(text(f"({10**30}, 3)")), "impossible shape"),
    "large": (npy(text("(100000000000, 3)"), b"1234"), r"which is 1200000000000 bytes, and 4 bytes follow"),
    "empty-huge": (npy(text(f"({10**30}, 0)")), "impossible shape"),
    "many-axes": (npy(text("(" + "2," * 60 + ")")), "bytes, and 0 bytes follow"),
    "negative": (npy(text("(-5, 3)"), b"1234"), "impossible shape"),
    "no-size": (npy(text("(1000000000000, 3)", "'<U0'")), "expected a plain array"),
    "void": (npy(text("(10, 3)", "'|V8'"), bytes(240)), "expected a plain array"),
    "fields": (npy(text("(10,)", "[('a', '<f4')]"), bytes(40)), "expected a plain array"),
    "objects": (npy(text("(10,)", "'|O'"), bytes(80)), "contains Python objects"),
    "nested-objects": (npy(text("(10,)", "[('a', '|O')]"), bytes(80)), "contains Python objects"),
    "deep": (npy(text("(" * 300 + ")" * 300)), "header is damaged"),
    "long-header": (npy(text("(10,)") + " " * 60000, bytes(40)), "header is damaged"),
    "long-header-2": (npy(text("(10,)"), bytes(40), version=2, length=2**31), "header is damaged"),
    "code": (npy("__import__('os').system('false')"), "header is damaged"),
    "type": (npy(text("(10,)", "'nothing'")), "header is damaged"),
    "no-dict": (npy("17"), "header is damaged"),
    "short": (b"\x93NUMPY\x01", "header is damaged"),
    "version": (npy(text("(1,)"), bytes(4), version=9), "has fields, or format"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("zipped", [False, True], ids=["npy", "npz"])
def test_headers(tmp_path: Path, name: str, zipped: bool) -> None:
    """Headers with impossible or wrong contents are refused before memory is allocated."""
    content, message = HOSTILE[name]
    path = tmp_path / ("a.npz" if zipped else "a.npy")
    if zipped:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", content)
    else:
        path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            array(str(path))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def bomb(path: Path, size: int, *, name: str = "x.npy") -> Path:
    """Write a .npz file with an array of `size` zeros (bytes) that is compressed a thousandfold."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open(name, "w", force_zip64=True) as file,
    ):
        file.write(npy(text(f"({size // 2**10}, {2**10})", "'|u1'")))
        for _ in range(size // 2**24):
            file.write(bytes(2**24))
    return path


def test_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it is unpacked; small arrays and masks with few ones are read."""
    monkeypatch.setattr("sdekit.data.formats.arrays.numpy_files.ALWAYS_READ", 2**20)
    path = bomb(tmp_path / "a.npz", 2**26)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"'x' of \d+ bytes expands to 0.0625 GiB.*save them as a .npy file"):
        array(str(path))
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    monkeypatch.undo()
    assert NpzFile(str(path), "a").read("x").shape == (2**16, 2**10)


def test_only_the_chosen_arrays_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb beside the items has no effect."""
    monkeypatch.setattr("sdekit.data.formats.arrays.numpy_files.ALWAYS_READ", 2**20)
    path = bomb(tmp_path / "a.npz", 2**24, name="more.npy")
    buffer = io.BytesIO()
    np.save(buffer, np.eye(4))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", buffer.getvalue())
    assert len(array(str(path))) == 4


def test_many_entries(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for i in range(5000):
            archive.writestr(f"{i}.npy", b"")
    with pytest.raises(InputError, match="contains 5000 entries; expected a few arrays"):
        array(str(tmp_path / "a.npz"))


def duplicate(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            archive.writestr("x.npy", b"")


def lying(path: Path) -> None:
    """Write an entry whose size in the directory is larger than its contents."""
    np.savez(path, x=np.arange(64.0).reshape(16, 4))
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 20 : directory + 28] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(data)


def unknown_method(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", npy(text("(2, 1)"), bytes(8)))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (duplicate, "contains 'x' twice"),
        (lying, "cannot be read|shorter than its header"),
        (unknown_method, "its compression is unknown"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and nothing else"), "cannot be read"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
        (lambda path: os.mkfifo(path), "is a device, a pipe"),
        (lambda path: path.symlink_to(path), "cannot be opened"),
    ],
)
def test_files_that_are_no_arrays(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    """Special files are refused before they are opened."""
    write(tmp_path / "a.npz")
    with pytest.raises(InputError, match=message):
        array(str(tmp_path / "a.npz"))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">i2", "|b1", "<U3", "|S2"])
def test_arrays_are_read_as_numpy_does(tmp_path: Path, order: str, dtype: str) -> None:
    """Any order of the axes, byte order and type; empty arrays too."""
    values = np.asarray(np.arange(24).reshape(2, 3, 4) % 10, order=order).astype(dtype)  # type: ignore[call-overload]
    for case in (values, values[:0]):
        np.save(tmp_path / "a.npy", case)
        np.savez_compressed(tmp_path / "a.npz", x=case)
        for found in (read_npy(str(tmp_path / "a.npy"), "a"), NpzFile(str(tmp_path / "a.npz"), "a").read("x")):
            assert found.dtype == case.dtype and np.array_equal(found, case)


def test_a_sparse_file_is_not_copied(tmp_path: Path) -> None:
    """A file of holes may be as large as its header states: it is mapped, but refused if it must be copied."""
    path = tmp_path / "a.npy"
    path.write_bytes(npy(text(f"({2**40}, 1)", "'|u1'")))
    os.truncate(path, 2**40 + 4096)
    assert read_npy(str(path), "a").shape == (2**40, 1)
    with pytest.raises(InputError, match=r"contains \(1099511627776, 1\) numbers; expected at most 1 MiB"):
        read_npy(str(path), "a", most_bytes=2**20)
    with pytest.raises(InputError, match="expected at most 2048 MiB"):
        read_array(path, "mask")
