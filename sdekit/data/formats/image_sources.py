"""Where the bytes of image files come from: a folder or a zip, neither copied nor unpacked."""

from __future__ import annotations

import os
import struct
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from sdekit.errors import InputError

from .file_names import PackedNames, printable

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")


class Source(Protocol):
    """Image files in the order of their relative paths; `read` may be called from several threads.

    Where all of them lie in one folder, as in what zipping a folder makes, that one is the top.
    """

    names: PackedNames
    folders: tuple[str, ...]  # sub-folders of the top that hold images, sorted; "" stands for the top itself
    folder: np.ndarray  # (N,) the position in `folders` of each file's own

    def read(self, i: int, limit: int | None = None) -> bytes:
        """The bytes of file i, or at most the first `limit`. Raises OSError where they cannot be had."""


def open_source(path: str) -> Source:
    """The images of a folder or a zip. Raises InputError where there is neither, or no image in it."""
    if not os.path.exists(path):
        raise InputError(f"images:{path}: no such file or folder")
    if os.path.isdir(path):
        source: Source = FolderSource(path)
    elif zipfile.is_zipfile(path):
        source = ZipSource(path)
    elif _begins_as_zip(path):
        raise InputError(f"images:{path} is a zip file that is incomplete or damaged; copy or download it again")
    else:
        raise InputError(f"images:{path} is neither a folder nor a zip file; pass the folder that holds the images")
    if not len(source.names):
        raise InputError(f"images:{path} holds no images; looked for {', '.join(EXTENSIONS)} in it and its sub-folders")
    return source


def _begins_as_zip(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


class FolderSource:
    """Image files of a folder and its sub-folders; hidden ones are left out, links are followed."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            names = sorted(_walk(path, "", frozenset()))
        except OSError as error:
            raise InputError(f"images:{path}: cannot list {error.filename} ({error.strerror})") from error
        self.names = PackedNames(names)
        self.folders, self.folder = _first_folders(names)

    def read(self, i: int, limit: int | None = None) -> bytes:
        """See `Source.read`."""
        with open(os.path.join(self._path, self.names[i]), "rb") as file:
            return file.read(-1 if limit is None else limit)


class ZipSource:
    """Image files of a zip, stored or deflated.

    `zipfile` reads the directory; the data is read with `pread`, which needs no lock and shares no position between
    threads, and leaves four numbers an entry in memory where `zipfile.ZipInfo` objects take a kilobyte.
    """

    def __init__(self, path: str) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir() and _wanted(entry.filename)]
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise InputError(f"images:{path} cannot be read as a zip ({error}); is it complete?") from error
        for entry in entries:
            if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                what = "encrypted" if entry.flag_bits & 1 else f"packed by method {entry.compress_type}"
                raise InputError(
                    f"images:{path}: '{printable(entry.filename)}' is {what}; only stored and deflated entries can be "
                    "read. Unpack the zip and pass the folder."
                )
        entries.sort(key=lambda entry: entry.filename)
        self.names = PackedNames(entry.filename for entry in entries)
        self.folders, self.folder = _first_folders([entry.filename for entry in entries])
        self._offset = np.array([entry.header_offset for entry in entries], dtype=np.int64)
        self._packed = np.array([entry.compress_size for entry in entries], dtype=np.int64)
        self._size = np.array([entry.file_size for entry in entries], dtype=np.int64)
        self._crc = np.array([entry.CRC for entry in entries], dtype=np.uint32)
        self._deflated = np.array([entry.compress_type == zipfile.ZIP_DEFLATED for entry in entries], dtype=bool)
        self._path = path
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()  # the number that was pickled means another file, or none, in another process

    def read(self, i: int, limit: int | None = None) -> bytes:
        """See `Source.read`. A whole entry is checked against the length and CRC of the zip's directory."""
        offset, size = int(self._offset[i]), int(self._size[i])
        head = os.pread(self._file, 30, offset)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise OSError("the zip has no entry where its directory says")
        start = offset + 30 + sum(struct.unpack("<HH", head[26:30]))  # past the name and the extra field
        wanted = size if limit is None else min(limit, size)
        if self._deflated[i]:
            data = os.pread(self._file, int(self._packed[i]), start)
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(wanted, 1))
            except zlib.error as error:
                raise OSError(f"damaged in the zip: {error}") from error
        else:
            data = os.pread(self._file, wanted, start)
        if limit is None and (len(data) != size or zlib.crc32(data) != self._crc[i]):
            raise OSError("damaged in the zip: length or checksum differ")
        return data


def _walk(root: str, below: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Relative paths of the images under root/below. above: the folders on the way, since links can go in circles."""
    status = os.stat(os.path.join(root, below))
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            name = below + entry.name
            if entry.is_dir():
                if _wanted_part(entry.name):
                    yield from _walk(root, name + "/", above | {here})
            elif _wanted(entry.name) and entry.is_file():
                yield name


def _wanted(path: str) -> bool:
    return path.lower().endswith(EXTENSIONS) and all(_wanted_part(part) for part in path.split("/"))


def _wanted_part(part: str) -> bool:
    return not part.startswith(".") and part != "__MACOSX"


def _first_folders(paths: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """`folders` and `folder` of a source, from its relative paths; a folder around everything is no class."""
    tops = {first if slash else "" for first, slash, _ in (path.partition("/") for path in paths)}
    wrapper = f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""
    firsts = (path.removeprefix(wrapper).partition("/") for path in paths)
    number: dict[str, int] = {}
    folder = np.fromiter(
        (number.setdefault(first if slash else "", len(number)) for first, slash, _ in firsts), np.int32, len(paths)
    )
    folders = tuple(sorted(number))
    rank = np.empty(len(number), dtype=np.int32)
    rank[[number[name] for name in folders]] = np.arange(len(number))
    return folders, rank[folder]
