"""Data sets of images in a folder or zip file. An image file is read when a batch needs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdekit.data.dataset import Batch, Dataset, Units
from sdekit.errors import InputError, SdekitError

from .file_names import printable
from .image_decoding import FILTER, ImageHeader, decode_image, read_image_header
from .image_sources import Source, open_source

SCAN_LIMIT = 20_000
"""Largest number of headers read when the data set is opened, if `size` is given."""

HEADER_BYTES = 2**16
"""Number of bytes read for a header. If they are too few, the whole file is read."""

SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}


def images(path: str, *, size: int | None = None, skip_bad: bool = False) -> ImageDataset:
    """PNG, JPEG and WebP images in a folder, its sub-folders, or a zip file, sorted by relative path.

    An item has shape (1, H, W) if every image is grey, else (3, H, W). Pixels from 0 to 255 are mapped to [-1, 1].
    Two or more sub-folders with images are classes in the order of their names, if no image is next to them. A single
    folder around all images is ignored, and so are hidden files. `decode_image` describes how transparency, 16 bits
    and the EXIF orientation are handled.

    If `size` is given and there are more than 20,000 files, only 20,000 headers are read when the data set is opened.
    If all of these images are grey, a colour image among the others is converted to grey.

    Reading a batch raises SdekitError if a file is damaged, unless `skip_bad` is set.

    Arguments:
        path: Folder or zip file.
        size: Side in pixels to which the centre square of each image is resized, by an antialiased Lanczos filter. By
            default all images must have the same size, which need not be square.
        skip_bad: Skip files that cannot be decoded. The attribute `skipped` contains their names. If a file
            proves to be damaged only when its pixels are read, the next good image replaces it.
    Returns:
        Data set of images.
    Raises:
        InputError: If the path contains no images, if the images have several sizes, or if a header is damaged and
            `skip_bad` is not set.
    """
    if size is not None and size < 1:
        raise InputError(f"size = {size}: expected at least 1 pixel")
    source = open_source(path)
    labels, names = _classes(source, path)
    scanned = np.arange(len(source.names))
    if size is not None and len(scanned) > SCAN_LIMIT:
        scanned = np.linspace(0, len(scanned) - 1, SCAN_LIMIT).astype(np.int64)

    bad: list[int] = []
    first: tuple[int, ImageHeader] | None = None
    colour = False
    for i, header in _scan(source, scanned):
        if isinstance(header, Exception):
            if not skip_bad:
                raise InputError(_decoding_error(path, source, i, header))
            bad.append(i)
            continue
        colour = colour or header.colour
        first = first or (i, header)
        if size is None and header[:2] != first[1][:2]:
            one, other = printable(source.names[first[0]]), printable(source.names[i])
            raise InputError(
                f"images:{path}: '{one}' has {first[1].width}x{first[1].height} pixels and '{other}' "
                f"{header.width}x{header.height}; pass --size N to crop and resize all of them to NxN"
            )
    if first is None:
        raise InputError(
            f"images:{path}: none of the {len(bad)} files can be decoded; expected PNG, JPEG or WebP images"
        )
    height, width = (size, size) if size is not None else (first[1].height, first[1].width)
    good = np.delete(np.arange(len(source.names)), bad)
    data = ImageDataset(path, source, good, (3 if colour else 1, height, width), size, skip_bad)
    data.skipped = tuple(printable(source.names[i]) for i in bad)
    if labels is not None:
        data.labels, data.classes, data.class_names = labels[good], len(names), names
    return data


class ImageDataset(Dataset):
    """Images decoded on demand by up to four threads, see `images`.

    Arguments:
        path: Folder or zip file, for error messages.
        source: Image files.
        good: Positions (N,) in the source of the files that are items.
        shape: Shape of one item.
        size: Side in pixels to which images are resized, or None.
        skip_bad: Whether to replace damaged files by the next good file.

    Attributes:
        filter: Name of the resizing filter.
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
        self._owned: dict[int, tuple[ThreadPoolExecutor, threading.Lock]] = {}  # by process id

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_owned": {}}

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._good)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Read the images at these indices: x (B, C, H, W) float32 in [-1, 1], and y (B,) int64 or None.

        A damaged file raises SdekitError with its name, unless damaged files are skipped.
        """
        items = np.array(indices, dtype=np.int64)  # a copy, because a damaged item is replaced by the next
        pixels = np.empty((len(items), *self.shape), dtype=np.uint8)

        def fill(part: np.ndarray) -> None:
            for j in part:
                items[j], pixels[j] = self._next_good(int(items[j]))

        for _ in self._own()[0].map(fill, np.array_split(np.arange(len(items)), self._threads)):
            pass
        return Batch(self.units.to_model(pixels), self.labels_of(items))

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """Return the labels at these indices without reading a file. A damaged file keeps its own label."""
        return None if self.labels is None else torch.from_numpy(self.labels[np.asarray(indices, dtype=np.int64)])

    def _own(self) -> tuple[ThreadPoolExecutor, threading.Lock]:
        """Return the thread pool and lock of this process. A forked process inherits a pool without its threads."""
        pid = os.getpid()
        if pid not in self._owned:  # no thread is started before the pool is used
            own = ThreadPoolExecutor(self._threads, thread_name_prefix="sdekit-images"), threading.Lock()
            self._owned.setdefault(pid, own)  # if two threads create a pool, keeps the first
        return self._owned[pid]

    def _next_good(self, i: int) -> tuple[int, np.ndarray]:
        """Return item i, or the next item that can be decoded, and its pixels (C, H, W) uint8."""
        for k in range(len(self)):
            item = (i + k) % len(self)
            if item in self._bad:
                continue
            try:
                return item, self._decode(item)
            except Exception as error:  # Pillow raises many types for damaged data
                if not self._skip_bad:
                    raise SdekitError(
                        _decoding_error(self._path, self._source, int(self._good[item]), error)
                    ) from error
                self._skip(item)
        raise SdekitError(f"images:{self._path}: none of the {len(self)} files can be decoded now")

    def _decode(self, item: int) -> np.ndarray:
        """Decode the pixels of an item."""
        data = self._source.read(int(self._good[item]))
        pixels = decode_image(data, self._size, self.shape[0])
        if pixels.shape != self.shape:
            raise ValueError(f"its shape is {pixels.shape}; it was {self.shape} when the data set was opened")
        return pixels

    def _skip(self, item: int) -> None:
        """Record an item as damaged."""
        with self._own()[1]:
            if item not in self._bad:
                self._bad.add(item)
                self.skipped = (*self.skipped, printable(self._source.names[int(self._good[item])]))


def _classes(source: Source, path: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return labels (N,) int64 and class names, or None and () if there are no classes."""
    names = source.folders
    if "" in names or len(names) < 2:
        return None, ()
    if all(name.lower() in SPLIT_NAMES for name in names):
        index = int(np.bincount(source.folder).argmax())
        largest, parts = names[index], source.names[int((source.folder == index).argmax())].split("/")
        folder = os.path.join(path, *parts[: parts.index(largest) + 1])
        hint = f"images:{folder}" if os.path.isdir(path) else f"a zip file of '{largest}' only"
        raise InputError(
            f"images:{path}: its folders {', '.join(names)} are splits of one data set, not classes; pass {hint}"
        )
    return source.folder.astype(np.int64), tuple(printable(name) for name in names)


def _scan(source: Source, indices: np.ndarray) -> Iterator[tuple[int, ImageHeader | Exception]]:
    """Yield the header or the exception of each file, in order. Four threads hide the latency of the disk."""

    def read(part: np.ndarray) -> list[tuple[int, ImageHeader | Exception]]:
        return [(int(i), _header(source, int(i))) for i in part]

    with ThreadPoolExecutor(4) as pool:
        for headers in pool.map(read, np.array_split(indices, len(indices) // 256 + 1)):
            yield from headers


def _header(source: Source, i: int) -> ImageHeader | Exception:
    """Read the header of file i from its first bytes, or from the whole file if they are too few."""
    for limit in (HEADER_BYTES, None):
        try:
            return read_image_header(source.read(i, limit))
        except Exception as error:  # Pillow raises many types for damaged data
            problem = error
    return problem


def _decoding_error(path: str, source: Source, i: int, error: Exception) -> str:
    """Return the message for a file that cannot be decoded."""
    return (
        f"images:{path}: cannot decode '{printable(source.names[i])}' ({error}); "
        "remove the file, or pass --skip-bad to skip such files"
    )
