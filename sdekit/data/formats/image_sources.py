"""Image files in a folder or zip file, read in place."""

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
    """Image files in the order of their relative paths.

    The top folder is the folder or zip file itself, or the only folder in it if all images are in that folder.

    Attributes:
        names: Relative path of each file.
        folders: Sorted names of the sub-folders of the top folder that contain images. "" stands for the top folder.
        folder: Index of the folder of each file in `folders`, (N,).
    """

    names: PackedNames
    folders: tuple[str, ...]
    folder: np.ndarray

    def read(self, i: int, limit: int | None = None) -> bytes:
        """Read file i, or its first `limit` bytes. Several threads may call this method at once.

        Raises OSError if the file cannot be read.
        """


def open_source(path: str) -> Source:
    """Open the image files of a folder or zip file.

    Arguments:
        path: Folder or zip file.
    Returns:
        Image files.
    Raises:
        InputError: If nothing exists at the path, if it is no folder or zip file, or if it contains no images.
    """
    if not os.path.exists(path):
        raise InputError(f"images:{path}: no such file or folder")
    if os.path.isdir(path):
        source: Source = FolderSource(path)
    elif zipfile.is_zipfile(path):
        source = ZipSource(path)
    elif _starts_like_zip(path):
        raise InputError(f"images:{path} is a zip file that is incomplete or damaged; copy or download it again")
    else:
        raise InputError(f"images:{path} is neither a folder nor a zip file; pass the folder of the images")
    if not len(source.names):
        raise InputError(
            f"images:{path} contains no images; expected files {', '.join(EXTENSIONS)} in it or its sub-folders"
        )
    return source


def _starts_like_zip(path: str) -> bool:
    """Return whether a file has the first bytes of a zip file."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


class FolderSource:
    """Image files of a folder and its sub-folders. Hidden files are ignored, and links are followed.

    Arguments:
        path: Folder.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            names = sorted(_walk(path, "", frozenset()))
        except OSError as error:
            raise InputError(f"images:{path}: cannot list {error.filename} ({error.strerror})") from error
        self.names = PackedNames(names)
        self.folders, self.folder = _first_folders(names)

    def read(self, i: int, limit: int | None = None) -> bytes:
        """Read file i, or its first `limit` bytes."""
        with open(os.path.join(self._path, self.names[i]), "rb") as file:
            return file.read(-1 if limit is None else limit)


class ZipSource:
    """Image files of a zip file, with stored or deflated entries.

    `zipfile` reads the directory of the zip file. The data are read with `pread`, which needs no lock, because threads
    share no file position. Five numbers per entry are stored, instead of a `zipfile.ZipInfo` object of about 1 kB.

    Arguments:
        path: Zip file.
    """

    def __init__(self, path: str) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir() and _is_image(entry.filename)]
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise InputError(
                f"images:{path} cannot be read as a zip file ({error}); it may be incomplete: copy or download it again"
            ) from error
        for entry in entries:
            if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                problem = "encrypted" if entry.flag_bits & 1 else f"compressed with method {entry.compress_type}"
                raise InputError(
                    f"images:{path}: '{printable(entry.filename)}' is {problem}; only stored and deflated entries can "
                    "be read. Unpack the zip file and pass the folder."
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
        """Open the file, which is closed when this object is deleted."""
        self._file = os.open(self._path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()  # the pickled file descriptor is invalid in another process

    def read(self, i: int, limit: int | None = None) -> bytes:
        """Read file i, or its first `limit` bytes. The length and the CRC of a whole file are checked."""
        offset, size = int(self._offset[i]), int(self._size[i])
        head = os.pread(self._file, 30, offset)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise OSError("the directory of the zip file is wrong")
        start = offset + 30 + sum(struct.unpack("<HH", head[26:30]))  # after the name and the extra field
        count = size if limit is None else min(limit, size)
        if self._deflated[i]:
            data = os.pread(self._file, int(self._packed[i]), start)
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(count, 1))
            except zlib.error as error:
                raise OSError(f"damaged in the zip file: {error}") from error
        else:
            data = os.pread(self._file, count, start)
        if limit is None and (len(data) != size or zlib.crc32(data) != self._crc[i]):
            raise OSError("damaged in the zip file: length or checksum differs")
        return data


def _walk(root: str, below: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Yield relative paths of the images in root/below. Skip links to the parent folders, which `above` contains."""
    status = os.stat(os.path.join(root, below))
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            name = below + entry.name
            if entry.is_dir():
                if _is_visible(entry.name):
                    yield from _walk(root, name + "/", above | {here})
            elif _is_image(entry.name) and entry.is_file():
                yield name


def _is_image(path: str) -> bool:
    """Return whether a relative path has the extension of an image and no hidden part."""
    return path.lower().endswith(EXTENSIONS) and all(_is_visible(part) for part in path.split("/"))


def _is_visible(name: str) -> bool:
    """Return whether a file or folder name is neither hidden nor the metadata folder of macOS."""
    return not name.startswith(".") and name != "__MACOSX"


def _first_folders(paths: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return `folders` and `folder` of a source, from its relative paths. One folder around all images is ignored."""
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
