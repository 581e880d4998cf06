"""Image files in a folder or zip file, read in place."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

import numpy as np

from sdekit.data.spec import VIDEO_ADVICE, VIDEOS
from sdekit.errors import InputError

from .file_names import LeftOutFiles, PackedNames, printable
from .regular_files import MAX_BYTES, SharedFile, check_regular, read_regular

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)


class ImageBytes(Protocol):
    """Encoded images, by index.

    Attributes:
        names: Name of each image in messages.
    """

    @property
    def names(self) -> Sequence[str] | PackedNames:
        """Name of each image in messages."""

    def read(self, i: int, limit: int | None = None) -> bytes:
        """Read image i, or its first `limit` bytes. Several threads may call this method at once.

        Raises OSError if the image cannot be read.
        """


class Source(Protocol):
    """Image files in the order of their relative paths.

    The top folder is the folder or zip file itself, or the innermost folder in it that contains all images.

    Attributes:
        noun: Name of the data set for messages, "images".
        names: Relative path of each file.
        top: Relative path of the top folder with a slash at its end, or "".
        folders: Sorted names of the sub-folders of the top folder that contain images. "" stands for the top folder.
        folder: Index of the folder of each file in `folders`, (N,).
        left_out: Numbers of the files that are not images.
    """

    noun: str
    names: PackedNames
    top: str
    folders: tuple[str, ...]
    folder: np.ndarray
    left_out: LeftOutFiles

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
        return _with_images(source, path)
    check_regular(path, f"images:{path}", "a folder or zip file of images")
    if zipfile.is_zipfile(path):
        source = ZipSource(path)
    elif _starts_like_zip(path):
        raise InputError(f"images:{path} is a zip file that is incomplete or damaged; copy or download it again")
    else:
        raise InputError(f"images:{path} is neither a folder nor a zip file; pass the folder of the images")
    return _with_images(source, path)


def _with_images(source: Source, path: str) -> Source:
    """Return the source, or raise InputError if it contains no images."""
    if not len(source.names):
        left_out = str(source.left_out)
        others = f"; it contains {left_out}" if left_out else ""
        others += f". {VIDEO_ADVICE}" if any(f" {suffix} (" in left_out for suffix in VIDEOS) else ""
        raise InputError(
            f"images:{path} contains no images; expected files {', '.join(EXTENSIONS)} in it or its sub-folders{others}"
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
        noun: Name of the data set for messages.
        extensions: Ends of the names of the files to read.
        excluded: Names of files that are left out in any folder, whatever their end is.
    """

    def __init__(
        self,
        path: str,
        noun: str = "images",
        extensions: tuple[str, ...] = EXTENSIONS,
        excluded: Collection[str] = (),
    ) -> None:
        self._path, self.noun = path, noun
        try:
            self.left_out = LeftOutFiles()
            names = sorted(_walk(path, self.left_out, extensions, excluded))
        except OSError as error:
            raise InputError(f"{noun}:{path}: cannot list {error.filename} ({error.strerror})") from error
        self.names = PackedNames(names)
        self.top, self.folders, self.folder = _first_folders(names)

    def read(self, i: int, limit: int | None = None) -> bytes:
        """Read file i, or its first `limit` bytes."""
        return read_regular(os.path.join(self._path, self.names[i]), limit)


class ZipSource:
    """Image files of a zip file, with stored or deflated entries.

    `zipfile` reads the directory of the zip file. The data are read with `SharedFile` by several threads. Five numbers
    per entry are stored, instead of a `zipfile.ZipInfo` object of about 1 kB.

    Arguments:
        path: Zip file.
    """

    noun = "images"

    def __init__(self, path: str) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                files = [entry for entry in archive.infolist() if not entry.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, OverflowError, struct.error, NotImplementedError) as error:
            raise InputError(
                f"images:{path} cannot be read as a zip file ({error}); it may be incomplete: copy or download it again"
            ) from error
        self.left_out, entries = LeftOutFiles(), list[zipfile.ZipInfo]()
        for entry in files:
            entry.filename = entry.filename.replace("\\", "/")  # written by some programs on Windows
            if _is_image(entry.filename):
                entries.append(entry)
            elif entry.filename.lower().endswith(EXTENSIONS) or not all(map(_is_visible, entry.filename.split("/"))):
                self.left_out.add("hidden", entry.filename)
            else:
                self.left_out.add_suffix(entry.filename)
        for entry in entries:
            if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                problem = "encrypted" if entry.flag_bits & 1 else f"compressed with method {entry.compress_type}"
                raise InputError(
                    f"images:{path}: '{printable(entry.filename)}' is {problem}; only stored and deflated entries can "
                    "be read. Unpack the zip file and pass the folder."
                )
        entries.sort(key=lambda entry: entry.filename)
        self.names = PackedNames(entry.filename for entry in entries)
        self.top, self.folders, self.folder = _first_folders([entry.filename for entry in entries])
        self._offset, self._packed, self._size = (
            np.array(
                [min(getattr(entry, name), 2**62) for entry in entries], dtype=np.int64
            )  # a wrong size may be 2^64
            for name in ("header_offset", "compress_size", "file_size")
        )
        self._crc = np.array([entry.CRC for entry in entries], dtype=np.uint32)
        self._deflated = np.array([entry.compress_type == zipfile.ZIP_DEFLATED for entry in entries], dtype=bool)
        self._file = SharedFile(path)

    def read(self, i: int, limit: int | None = None) -> bytes:
        """Read file i, or its first `limit` bytes. The length and the CRC of a whole file are checked."""
        offset, size = int(self._offset[i]), int(self._size[i])
        if max(size, int(self._packed[i])) > MAX_BYTES:
            raise OSError(f"larger than {MAX_BYTES >> 20} MiB")
        head = self._file.read(30, offset)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise OSError("the directory of the zip file is wrong")
        start = offset + 30 + sum(struct.unpack("<HH", head[26:30]))  # after the name and the extra field
        count = size if limit is None else min(limit, size)
        if self._deflated[i]:
            data = self._file.read(int(self._packed[i]), start)
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(count, 1))
            except zlib.error as error:
                raise OSError(f"damaged in the zip file: {error}") from error
        else:
            data = self._file.read(count, start)
        if limit is None and (len(data) != size or zlib.crc32(data) != self._crc[i]):
            raise OSError("damaged in the zip file: length or checksum differs")
        return data


def _walk(root: str, left_out: LeftOutFiles, extensions: tuple[str, ...], excluded: Collection[str]) -> Iterator[str]:
    """Yield relative paths of the files with one of the extensions in a folder, and count all other files.

    Every folder is read once, even if several links or a circle of links lead to it. Links are followed last.
    """
    read: set[tuple[int, int]] = set()
    folders, links = [""], list[str]()
    while folders or links:
        below = folders.pop() if folders else links.pop()
        status = os.stat(os.path.join(root, below))
        if (here := (status.st_dev, status.st_ino)) in read:
            left_out.add("links to folders that are read already", below.rstrip("/"))
            continue
        read.add(here)
        with os.scandir(os.path.join(root, below)) as unsorted:
            entries = sorted(unsorted, key=lambda entry: entry.name, reverse=True)
        for entry in entries:
            name = below + entry.name
            if not _is_visible(entry.name):
                left_out.add("hidden folders" if _is_kind(entry, stat.S_ISDIR) else "hidden", name)
            elif _is_kind(entry, stat.S_ISDIR):
                (links if entry.is_symlink() else folders).append(name + "/")
            elif not name.lower().endswith(extensions) or entry.name in excluded:
                left_out.add_suffix(name)
            elif not _is_kind(entry, stat.S_ISREG):
                left_out.add("devices, pipes or broken links", name)
            else:
                yield name


def _is_kind(entry: os.DirEntry[str], predicate: Callable[[int], bool]) -> bool:
    """Return whether an entry, or the target of a link, is of a kind. A broken or circular link is of no kind."""
    try:
        return predicate(entry.stat().st_mode)
    except OSError:
        return False


def _is_image(path: str) -> bool:
    """Return whether a relative path has the extension of an image and no hidden part."""
    return path.lower().endswith(EXTENSIONS) and all(_is_visible(part) for part in path.split("/"))


def _is_visible(name: str) -> bool:
    """Return whether a file or folder name is neither hidden nor the metadata folder of macOS."""
    return not name.startswith(".") and name != "__MACOSX"


def _first_folders(paths: list[str]) -> tuple[str, tuple[str, ...], np.ndarray]:
    """Return `top`, `folders` and `folder` of a source, from its sorted relative paths."""
    top = os.path.commonprefix([paths[0], paths[-1]]).rpartition("/") if paths else ("", "", "")
    start = top[0] + top[1]
    firsts = (path.removeprefix(start).partition("/") for path in paths)
    number: dict[str, int] = {}
    folder = np.fromiter(
        (number.setdefault(first if slash else "", len(number)) for first, slash, _ in firsts), np.int32, len(paths)
    )
    folders = tuple(sorted(number))
    rank = np.empty(len(number), dtype=np.int32)
    rank[[number[name] for name in folders]] = np.arange(len(number))
    return start, folders, rank[folder]
