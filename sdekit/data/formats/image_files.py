"""Data sets of images in a folder or zip file. An image file is read when a batch needs it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sdekit.data.classes import occurring_classes
from sdekit.data.dataset import Batch, Dataset, Units
from sdekit.data.standardization import range_units
from sdekit.errors import InputError, SdekitError

from .file_names import printable
from .image_decoding import (
    FILTER,
    FORMAT_NAMES,
    ImageHeader,
    check_colour,
    decode_image,
    parse_size,
    read_image_header,
)
from .image_notes import conversion_notes, is_deep
from .image_sources import ImageBytes, open_source
from .label_files import labels_of_images

SCAN_LIMIT = 20_000
"""Largest number of headers read when the data set is opened, if `size` is given."""

HEADER_BYTES = 2**16
"""Number of bytes read for a header. If they are too few, the whole file is read."""

BRIGHTNESS_ITEMS = 16
"""Number of images that are decoded to find out whether all are nearly black."""

NEARLY_BLACK = 64
"""Images whose largest pixel is smaller are nearly black."""

WHOLE_FILES = (".gif", ".tif", ".tiff", ".webp")
"""Suffixes of files that are read as a whole for the header, because it may be at the end or counts all frames."""


def images(
    path: str,
    *,
    size: int | str | None = None,
    skip_bad: bool = False,
    labels: str = "auto",
    depth: Literal["auto", 8] = "auto",
    scale: Literal["auto", "global"] = "auto",
    background: str = "white",
) -> ImageDataset:
    """Images in a folder, its sub-folders, or a zip file, sorted by relative path.

    PNG, JPEG, WebP, BMP, TIFF, GIF (the first frame) and PPM files are read. The attribute `notes` of the data set
    states how many other files are left out, and which images are converted. An item has shape (1, H, W) if every image
    is grey, else (3, H, W). Hidden files are ignored.

    Labels are read from a file beside the images: `dataset.json` of StyleGAN and EDM, or `labels.csv`, `metadata.csv`
    or `metadata.jsonl` with a file name and a label in each row. Without such a file, two or more sub-folders with
    images are classes, if no image is next to them and they are not numbered shards, such as 00000 and 00001. Numbers
    in the names of classes sort as numbers. Splits such as train and test are refused.

    Pixels of 8 bits, from 0 to 255, are mapped to [-1, 1]. Grey images of 16 or 32 bits keep their numbers, and the
    range of all numbers is mapped to [-1, 1]. Images of 8 bits and of more bits must not be mixed.

    If `size` is given and there are more than 20,000 files, only 20,000 of them are examined when the data set is
    opened. If all of these images are grey, a colour image among the others is converted to grey.

    Reading a batch raises SdekitError if a file is damaged, unless `skip_bad` is set.

    Arguments:
        path: Folder or zip file.
        size: Side in pixels, or a text such as "64x48" with width and height, to which the centre of each image is
            resized by an antialiased Lanczos filter. By default all images must have the same size, which need not be
            square.
        skip_bad: Skip files that cannot be decoded. The attribute `skipped` contains their names. If a file
            proves to be damaged only when its pixels are read, the next good image replaces it.
        labels: "auto", "folders" if the folders are classes in any case, "none", or a label file, as a path or as a
            name inside the folder or zip file.
        depth: 8 rounds images of 16 bits to 8 bits; 65535 becomes 255.
        scale: "global" maps the range of the numbers of all images to [-1, 1], also for images of 8 bits, such as
            masks of the values 0 and 1. "auto" does so for images of 16 and 32 bits, and maps 8 bits from 0..255.
        background: Colour with which transparent pixels are blended, such as white, black or #ff8000.
    Returns:
        Data set of images.
    Raises:
        InputError: If the path contains no images, if its folders are splits of a data set, if an image has no label in
            a label file, if the images have several sizes or depths, or if a header is damaged and `skip_bad` is not
            set.
    """
    source = open_source(path)
    classes, names, rule = labels_of_images(source, path, labels)
    data = dataset_from_images(
        source, f"images:{path}", classes=classes, class_names=names, size=size, skip_bad=skip_bad, depth=depth,
        scale=scale, background=background,
    )  # fmt: skip
    if left_out := str(source.left_out):
        data.notes += (f"left out in {path}: {left_out}",)
    data.notes += rule
    return data


def dataset_from_images(
    source: ImageBytes,
    spec: str,
    *,
    classes: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    size: int | str | None = None,
    skip_bad: bool = False,
    depth: Literal["auto", 8] = "auto",
    scale: Literal["auto", "global"] = "auto",
    background: str = "white",
) -> ImageDataset:
    """Create a data set from encoded images.

    Arguments:
        source: Encoded images.
        spec: Name of the images in messages, such as "images:photos".
        classes: Label of each image (N,) in [0, len(class_names)), or None.
        class_names: Name of each class.
        size: See `images`.
        skip_bad: See `images`.
        depth: See `images`.
        scale: See `images`.
        background: See `images`.
    Returns:
        Data set of images.
    Raises:
        InputError: If the images have several sizes or depths, or if a header is damaged and `skip_bad` is not set.
    """
    target = parse_size(size)
    check_colour(background)
    scanned = np.arange(len(source.names))
    if target is not None and len(scanned) > SCAN_LIMIT:
        scanned = np.linspace(0, len(scanned) - 1, SCAN_LIMIT).astype(np.int64)

    bad: list[int] = []
    counts: Counter[ImageHeader] = Counter()  # by everything but the size
    first: tuple[int, ImageHeader] | None = None
    for i, header in _scan(source, scanned):
        if isinstance(header, Exception):
            if not skip_bad:
                raise InputError(_decoding_error(spec, source, i, header))
            bad.append(i)
            continue
        first = first or (i, header)
        counts[header._replace(width=0, height=0)] += 1
        if target is None and header[:2] != first[1][:2]:
            one, other = printable(source.names[first[0]]), printable(source.names[i])
            raise InputError(
                f"{spec}: '{one}' has {first[1].width}x{first[1].height} pixels and '{other}' "
                f"{header.width}x{header.height}; pass --size N to crop and resize all of them to NxN, or --size WxH"
            )
        if depth == "auto" and is_deep(header) != is_deep(first[1]):
            one, other = printable(source.names[first[0]]), printable(source.names[i])
            raise InputError(
                f"{spec}: '{one}' has {first[1].bits} bits and '{other}' {header.bits} bits, so that their "
                "numbers have different units; pass --option data.depth=8 to round all images to 8 bits"
            )
    if first is None:
        raise InputError(f"{spec}: none of the {len(bad)} files can be decoded; expected {FORMAT_NAMES} images")
    deep = depth == "auto" and is_deep(first[1])
    channels = 3 if any(header.colour for header in counts) else 1
    width, height = target or first[1][:2]
    good = np.delete(np.arange(len(source.names)), bad)
    data = ImageDataset(spec, source, good, (channels, height, width), target, skip_bad, background, deep)
    data.skipped = tuple(printable(source.names[i]) for i in bad)
    if classes is not None:
        data.labels, data.class_names = occurring_classes(classes[good], class_names)
        data.classes = len(data.class_names)
    data.notes = tuple(conversion_notes(counts, channels, deep, background))
    if deep or scale == "global":
        data.measure_range()
    elif channels == 1:
        data.check_brightness()
    return data


class ImageDataset(Dataset):
    """Images decoded on demand by up to four threads, see `images`.

    Arguments:
        spec: Name of the images in messages, such as "images:photos".
        source: Encoded images.
        good: Positions (N,) in the source of the files that are items.
        shape: Shape of one item.
        size: Width and height in pixels to which images are resized, or None.
        skip_bad: Whether to replace damaged files by the next good file.
        background: Colour with which transparent pixels are blended.
        deep: Whether the images have 16 or 32 bits and keep their numbers.

    Attributes:
        filter: Name of the resizing filter.
    """

    kind = "image"
    concurrent = True
    filter = FILTER
    labels: np.ndarray | None = None

    def __init__(
        self,
        spec: str,
        source: ImageBytes,
        good: np.ndarray,
        shape: tuple[int, int, int],
        size: tuple[int, int] | None,
        skip_bad: bool,
        background: str = "white",
        deep: bool = False,
    ) -> None:
        self.shape: tuple[int, ...] = shape
        self.units = Units(shift=127.5, scale=127.5, low=0.0, high=255.0)
        self._spec, self._source, self._good, self._size, self._skip_bad = spec, source, good, size, skip_bad
        self._background, self._deep = background, deep
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
        pixels = np.empty((len(items), *self.shape), dtype=np.float32 if self._deep else np.uint8)

        def fill(part: np.ndarray) -> None:
            for j in part:
                items[j], pixels[j] = self._next_good(int(items[j]))

        for _ in self._own()[0].map(fill, np.array_split(np.arange(len(items)), self._threads)):
            pass
        return Batch(self.units.to_model(pixels), self.labels_of(items))

    def measure_range(self) -> None:
        """Set the units to the range of all numbers, which is mapped to [-1, 1]. At most 20,000 images are decoded.

        Raises:
            InputError: If an image cannot be decoded, unless damaged files are skipped.
        """
        items = np.linspace(0, len(self) - 1, min(len(self), SCAN_LIMIT)).astype(np.int64)

        def extremes(item: np.int64) -> tuple[float, float]:
            pixels = self._next_good(int(item))[1]
            return float(pixels.min()), float(pixels.max())

        try:
            lows, highs = zip(*self._own()[0].map(extremes, items), strict=True)
        except SdekitError as error:
            raise InputError(str(error)) from error
        self.units = range_units(min(lows), max(highs), known=True)
        scope = "" if len(items) == len(self) else f" of {len(items)} images"
        kind = "have 16 or 32 bits" if self._deep else "have 8 bits"
        self.notes = (f"the images {kind}: the range of their numbers{scope} is mapped to -1..1", *self.notes)

    def check_brightness(self) -> None:
        """Add a note if all pixels of some images are nearly black, as in masks of the values 0 and 1."""
        items = np.linspace(0, len(self) - 1, min(len(self), BRIGHTNESS_ITEMS)).astype(np.int64)
        try:
            largest = max(int(self._decode(int(item)).max()) for item in items)
        except Exception:  # reported when the image is read
            return
        if 0 < largest < NEARLY_BLACK:
            self.notes = (
                f"the largest pixel of {len(items)} images is {largest} of 255, so that they are nearly black "
                "(--option data.scale=global maps the range of the pixels to -1..1)",
                *self.notes,
            )

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
                        _decoding_error(self._spec, self._source, int(self._good[item]), error)
                    ) from error
                self._skip(item)
        raise SdekitError(f"{self._spec}: none of the {len(self)} files can be decoded now")

    def _decode(self, item: int) -> np.ndarray:
        """Decode the pixels of an item."""
        data = self._source.read(int(self._good[item]))
        pixels = decode_image(data, self._size, self.shape[0], background=self._background, deep=self._deep)
        if pixels.shape != self.shape:
            raise ValueError(f"its shape is {pixels.shape}; it was {self.shape} when the data set was opened")
        return pixels

    def _skip(self, item: int) -> None:
        """Record an item as damaged."""
        with self._own()[1]:
            if item not in self._bad:
                self._bad.add(item)
                self.skipped = (*self.skipped, printable(self._source.names[int(self._good[item])]))


def _scan(source: ImageBytes, indices: np.ndarray) -> Iterator[tuple[int, ImageHeader | Exception]]:
    """Yield the header or the exception of each file, in order. Four threads hide the latency of the disk."""

    def read(part: np.ndarray) -> list[tuple[int, ImageHeader | Exception]]:
        return [(int(i), _header(source, int(i))) for i in part]

    with ThreadPoolExecutor(4) as pool:
        for headers in pool.map(read, np.array_split(indices, len(indices) // 256 + 1)):
            yield from headers


def _header(source: ImageBytes, i: int) -> ImageHeader | Exception:
    """Read the header of file i from its first bytes, or from the whole file if they are too few."""
    whole = source.names[i].lower().endswith(WHOLE_FILES)
    for limit in (None,) if whole else (HEADER_BYTES, None):
        try:
            return read_image_header(source.read(i, limit))
        except Exception as error:  # Pillow raises many types for damaged data
            problem = error
    return problem


def _decoding_error(spec: str, source: ImageBytes, i: int, error: Exception) -> str:
    """Return the message for a file that cannot be decoded."""
    return (
        f"{spec}: cannot decode '{printable(source.names[i])}' ({error}); "
        "remove the file, or pass --skip-bad to skip such files"
    )
