"""Data sets in IDX files, the format of MNIST, plain or gzipped."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from io import BufferedReader

import numpy as np

from sdekit.data.in_memory import InMemoryDataset
from sdekit.data.labels import check_labels
from sdekit.data.standardization import range_units
from sdekit.errors import InputError

from .regular_files import check_regular

MAX_RATIO = 100
"""Largest ratio of the size of unpacked images to the size of the gzip file, beyond the first 256 MiB."""

IMAGE_FILE = re.compile(r"(?P<split>.*)images[-.]idx3-ubyte(\.gz)?")
LABEL_FILE = re.compile(r".*labels[-.]idx1-ubyte(\.gz)?")
TEST_SPLIT = re.compile(r"(^|[-_.])(t10k|test|val|valid|validation)[-_.]?$")
UNSIGNED_BYTE = 0x08
"""Type code, the third byte of the magic number. The fourth byte is the number of dimensions."""


def mnist(path: str, *, labels: str | None = None) -> InMemoryDataset:
    """Grey images of IDX files, the format of MNIST, with labels if their file is in the same folder.

    An item has shape (1, H, W) and pixels from 0 to 255. The labels are read from the file `…labels-idx1-ubyte` of the
    same split, plain or gzipped. The classes are the values that occur.

    Arguments:
        path: File of images, `…images-idx3-ubyte` or the same with `.gz`; or a folder with such files. In a
            folder, the training split is read, or else the only other set, but never the test split t10k.
        labels: File of the labels, or "none" for no labels.
    Returns:
        Data set of grey images.
    Raises:
        InputError: If a file is missing, has another format, or does not have the length that its header states, or if
            a folder contains several sets or only the test split.
    Source:
        http://yann.lecun.com/exdb/mnist.
    """
    if not os.path.exists(path):
        raise InputError(f"mnist:{path}: no such file or folder")
    file, notes = _choose(path) if os.path.isdir(path) else (path, ())
    images = _read(file, 3)
    if len(images) < 2 or not images.size:
        raise InputError(f"{file}: images of shape {images.shape}; expected at least 2 images with pixels")
    data = InMemoryDataset(images, units=range_units(0.0, 255.0, "hw", known=True))
    label_file, data.notes = None if labels is None else os.path.expanduser(labels), notes
    if labels is None:
        label_file, note = _find_labels(file)
        data.notes += note
    if label_file is not None and label_file != "none":
        data.labels, data.class_names = check_labels(_read(label_file, 1), len(images), label_file)
        data.classes = len(data.class_names)
    return data


def _choose(folder: str) -> tuple[str, tuple[str, ...]]:
    """Choose the image file of a folder: the training split, or else the only set that is not a test split.

    A plain file has precedence over a gzipped file of the same split. The result also contains notes.
    """
    splits: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        match = IMAGE_FILE.fullmatch(name)
        if match:
            splits.setdefault(match["split"], name)
    if not splits:
        raise InputError(f"mnist:{folder} contains no IDX images; expected a file such as train-images-idx3-ubyte.gz")
    tests = [name for split, name in splits.items() if TEST_SPLIT.search(split)]
    train = [name for split, name in splits.items() if split.endswith("train-")]
    matching = train or [name for name in splits.values() if name not in tests]
    if not matching:
        raise InputError(
            f"mnist:{folder} contains only the test split ({', '.join(tests)}); pass the file itself to train on it: "
            "mnist:FILE"
        )
    if len(matching) > 1:
        raise InputError(
            f"mnist:{folder} contains several sets ({', '.join(matching)}); pass one of these files: mnist:FILE"
        )
    others = [name for name in splits.values() if name != matching[0]]
    notes = (f"the images are read from {matching[0]}; not used: {', '.join(others)}",) if others else ()
    return os.path.join(folder, matching[0]), notes


def _find_labels(images: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the label file of the same split as an image file, or None, and a note if there are other label files."""
    folder, name = os.path.split(images)
    plain = name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for candidate in (plain, plain + ".gz"):
        file = os.path.join(folder, candidate)
        if candidate not in (name, name.removesuffix(".gz")) and os.path.isfile(file):
            return file, ()
    others = [other for other in sorted(os.listdir(folder or ".")) if LABEL_FILE.fullmatch(other)]
    if not others:
        return None, ()
    note = f"no labels were read: there is no file {plain}; choose another one ({', '.join(others)}) with "
    return None, (note + "--option data.labels=FILE",)


def _read(path: str, dims: int) -> np.ndarray:
    """Read an array of unsigned bytes with `dims` dimensions. A wrong header or length raises InputError."""
    kind, expected = ("images", UNSIGNED_BYTE << 8 | 3) if dims == 3 else ("labels", UNSIGNED_BYTE << 8 | 1)
    check_regular(path, f"mnist:{path}", "an IDX file")
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror})") from error
    stored = os.path.getsize(path)
    with gzip.open(path) if zipped else open(path, "rb") as file:
        header = _read_up_to(file, 4 + 4 * dims, path)
        if len(header) < 4 + 4 * dims:
            raise InputError(f"{path}: expected a header of {4 + 4 * dims} bytes, found {len(header)} bytes")
        magic = int.from_bytes(header[:4])
        if magic != expected:
            raise InputError(
                f"{path} is not an IDX file of {kind}: magic number 0x{magic:08x}, expected 0x{expected:08x}"
            )
        shape = tuple(int.from_bytes(header[i : i + 4]) for i in range(4, len(header), 4))
        size = int(np.prod(shape, dtype=object))
        if size > (MAX_RATIO if zipped else 1) * stored + 2**28:
            raise InputError(
                f"{path}: its header states {' x '.join(map(str, shape))} bytes, but the file has only {stored} bytes"
                f"{', compressed' if zipped else ''}; download the file again"
            )
        body = _read_up_to(file, size + 1, path)  # one byte more, to detect a file that is too long
    if len(body) != size:
        length = f"{len(header) + len(body)} bytes" if len(body) < size else "more"
        raise InputError(
            f"{path}: expected {len(header) + size} bytes for {' x '.join(map(str, shape))}, found {length}"
            f"{' after unpacking' if zipped else ''}; download the file again"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _read_up_to(file: BufferedReader | gzip.GzipFile, size: int, path: str) -> bytes:
    """Read at most `size` bytes, fewer if the file ends early. Damaged gzip data raises InputError."""
    parts: list[bytes] = []
    remaining = size
    try:
        while remaining and (part := file.read1(min(remaining, 2**20))):
            parts.append(part)
            remaining -= len(part)
    except EOFError:  # gzip raises it for an incomplete file; the caller checks the length
        pass
    except (OSError, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked ({error}); download the file again") from error
    return b"".join(parts)
