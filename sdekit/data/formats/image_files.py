"""Folders and zips of images, streamed: a file is opened when a batch asks for it and kept nowhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Batch, Dataset, Units
from sdekit.errors import InputError, SdekitError

from .file_names import printable
from .image_decoding import FILTER, Header, decode, header
from .image_sources import Source, open_source

SCAN_LIMIT = 20_000  # headers read at most where the size is given
HEADER_BYTES = 2**16
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}


def images(path: str, *, size: int | None = None, skip_bad: bool = False) -> ImageDataset:
    """PNG, JPEG and WebP images in a folder, its sub-folders, or a zip of it; sorted by relative path.

    Sub-folders that hold images, two or more of them and no image beside them, are classes in the order of their names;
    a folder around all of them is not looked at.
    The model sees (1, H, W) if every image is grey, else (3, H, W); 0..255 becomes [-1, 1].
    size: pixels a side; the centre square of each image is resized to it by antialiased Lanczos. Without it the images
    must share one size, which need not be square.
    skip_bad: pass over files that cannot be decoded. Their names are in `skipped`; one that fails only when its pixels
    are read stands for the next good image from then on.

    With `size`, and more than 20,000 files, only 20,000 headers, evenly spread, are read beforehand: if all of these
    are grey, a colour image among the others becomes grey. Hidden files are left out. See `decode` for transparency
    (white), 16 bits (rounded to 8) and orientation (applied).
    Raises InputError for a path without images, images of several sizes, and (without skip_bad) a bad header, naming
    the file; `batch` raises SdekitError for a file that turns out to be damaged.
    """
    if size is not None and size < 1:
        raise InputError(f"size = {size}: expected at least 1 pixel")
    source = open_source(path)
    labels, names = _classes(source, path)
    wanted = np.arange(len(source.names))
    if size is not None and len(wanted) > SCAN_LIMIT:
        wanted = np.linspace(0, len(wanted) - 1, SCAN_LIMIT).astype(np.int64)

    bad: list[int] = []
    first: tuple[int, Header] | None = None
    colour = False
    for i, found in _scan(source, wanted):
        if isinstance(found, Exception):
            if not skip_bad:
                raise InputError(_complaint(path, source, i, found))
            bad.append(i)
            continue
        colour = colour or found.colour
        first = first or (i, found)
        if size is None and found[:2] != first[1][:2]:
            one, other = printable(source.names[first[0]]), printable(source.names[i])
            raise InputError(
                f"images:{path}: '{one}' has {first[1].width}x{first[1].height} pixels and '{other}' "
                f"{found.width}x{found.height}; pass --size N to crop and resize all of them to NxN"
            )
    if first is None:
        raise InputError(f"images:{path}: none of the {len(bad)} files can be decoded; are they PNG, JPEG or WebP?")
    height, width = (size, size) if size is not None else (first[1].height, first[1].width)
    good = np.delete(np.arange(len(source.names)), bad)
    data = ImageDataset(path, source, good, (3 if colour else 1, height, width), size, skip_bad)
    data.skipped = tuple(printable(source.names[i]) for i in bad)
    if labels is not None:
        data.labels, data.classes, data.class_names = labels[good], len(names), names
    return data


class ImageDataset(Dataset):
    """Images decoded on demand by a few threads; see `images`.

    source: the files. good: (N,) which of them are the items. size: as for `images`. filter: how images are resized.
    """

    kind = "image"
    concurrent = True
    filter = FILTER
    labels: np.ndarray | None = None

    def __init__(
        self, path: str, source: Source, good: np.ndarray, shape: tuple[int, int, int], size: int | None, skip_bad: bool
    ) -> None:
        self.shape: tuple[int, ...] = shape
        self.units = Units(shift=127.5, scale=127.5, low=0.0, high=255.0)
        self._path, self._source, self._good, self._size, self._skip_bad = path, source, good, size, skip_bad
        self._bad: set[int] = set()
        self._threads = max(1, min(4, os.cpu_count() or 1))
        self._owned: dict[int, tuple[ThreadPoolExecutor, threading.Lock]] = {}  # by the process that they are of

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_owned": {}}

    def __len__(self) -> int:
        return len(self._good)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The images at these indices: x (B, C, H, W) float32 in [-1, 1], y (B,) int64 or None.

        Raises SdekitError for a damaged file, with its name, unless bad files are skipped.
        """
        items = np.array(indices, dtype=np.int64)  # a copy: a bad item's place is taken by the next
        pixels = np.empty((len(items), *self.shape), dtype=np.uint8)

        def fill(part: np.ndarray) -> None:
            for j in part:
                items[j], pixels[j] = self._next_good(int(items[j]))

        for _ in self._own()[0].map(fill, np.array_split(np.arange(len(items)), self._threads)):
            pass
        return Batch(self.units.to_model(pixels), self.labels_of(items))

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """See `Dataset.labels_of`; no file is read, so that one that turns out to be bad has its own label still."""
        return None if self.labels is None else torch.from_numpy(self.labels[np.asarray(indices, dtype=np.int64)])

    def _own(self) -> tuple[ThreadPoolExecutor, threading.Lock]:
        """Threads and lock of this process: a child that was forked has its parent's pool without the threads."""
        pid = os.getpid()
        if pid not in self._owned:  # no thread starts before the pool is used
            made = ThreadPoolExecutor(self._threads, thread_name_prefix="sdekit-images"), threading.Lock()
            self._owned.setdefault(pid, made)  # of two threads that come here the first wins
        return self._owned[pid]

    def _next_good(self, i: int) -> tuple[int, np.ndarray]:
        """Item i, or the next one (in a circle) that can be decoded, and its pixels (C, H, W) uint8."""
        for k in range(len(self)):
            item = (i + k) % len(self)
            if item in self._bad:
                continue
            try:
                return item, self._decode(item)
            except Exception as error:  # Pillow raises many types for damaged data
                if not self._skip_bad:
                    raise SdekitError(_complaint(self._path, self._source, int(self._good[item]), error)) from error
                self._skip(item)
        raise SdekitError(f"images:{self._path}: none of the {len(self)} files can be decoded any more")

    def _decode(self, item: int) -> np.ndarray:
        data = self._source.read(int(self._good[item]))
        pixels = decode(data, self._size, self.shape[0])
        if pixels.shape != self.shape:
            raise ValueError(f"its shape is {pixels.shape} now and was {self.shape} at the start")
        return pixels

    def _skip(self, item: int) -> None:
        with self._own()[1]:
            if item not in self._bad:
                self._bad.add(item)
                self.skipped = (*self.skipped, printable(self._source.names[int(self._good[item])]))


def _classes(source: Source, path: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels (N,) int64 and names of the class folders, or None and () where there are no classes."""
    names = source.folders
    if "" in names or len(names) < 2:
        return None, ()
    if all(name.lower() in SPLITS for name in names):
        place = int(np.bincount(source.folder).argmax())
        largest, parts = names[place], source.names[int((source.folder == place).argmax())].split("/")
        inside = os.path.join(path, *parts[: parts.index(largest) + 1])
        hint = f"images:{inside}" if os.path.isdir(path) else f"a zip of '{largest}' alone"
        raise InputError(
            f"images:{path}: its folders {', '.join(names)} are splits of one data set, not classes; pass {hint}"
        )
    return source.folder.astype(np.int64), tuple(printable(name) for name in names)


def _scan(source: Source, wanted: np.ndarray) -> Iterator[tuple[int, Header | Exception]]:
    """The header of each wanted file, or what went wrong, in order; read by four threads since disks wait."""

    def read(part: np.ndarray) -> list[tuple[int, Header | Exception]]:
        return [(int(i), _header(source, int(i))) for i in part]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(read, np.array_split(wanted, len(wanted) // 256 + 1)):
            yield from found


def _header(source: Source, i: int) -> Header | Exception:
    """Header of file i from its first bytes, or from all of it where these do not suffice."""
    for limit in (HEADER_BYTES, None):
        try:
            return header(source.read(i, limit))
        except Exception as error:  # Pillow raises many types for damaged data
            problem = error
    return problem


def _complaint(path: str, source: Source, i: int, error: Exception) -> str:
    return (
        f"images:{path}: cannot decode '{printable(source.names[i])}' ({error}); "
        "remove the file, or pass --skip-bad to pass over such files"
    )
