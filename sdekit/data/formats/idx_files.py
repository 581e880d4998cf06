"""IDX files, the format of MNIST and its relatives: plain or gzipped."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from io import BufferedReader

import numpy as np

from sdekit.data import InMemoryDataset, check_labels, range_units
from sdekit.errors import InputError

IMAGES = re.compile(r"(?P<split>.*)images[-.]idx3-ubyte(\.gz)?")
BYTE = 0x08  # the type code of unsigned bytes, third byte of the magic number; the fourth counts the dimensions


def mnist(path: str) -> InMemoryDataset:
    """Grey images (1, H, W) from IDX files, 0..255, with labels where their file lies beside.

    path: an images file, `…images-idx3-ubyte` or that with `.gz`, or a folder that has one: of several the training
    split, else t10k. Labels come from `…labels-idx1-ubyte` of the same split.
    Format: http://yann.lecun.com/exdb/mnist. Raises InputError for a file that is missing, of another format, or
    shorter or longer than its header says.
    """
    if not os.path.exists(path):
        raise InputError(f"mnist:{path}: no such file or folder")
    file = _choose(path) if os.path.isdir(path) else path
    images = _read(file, 3)
    if len(images) < 2 or not images.size:
        raise InputError(f"{file}: images of shape {images.shape}; expected at least 2, and not empty ones")
    units = range_units(0.0, 255.0, "hw", known=True)
    beside = _labels_beside(file)
    if beside is None:
        return InMemoryDataset(images, units=units)
    labels, classes = check_labels(_read(beside, 1), len(images), beside)
    return InMemoryDataset(images, units=units, labels=labels, classes=classes)


def _choose(folder: str) -> str:
    """The images file of a folder: the training split first, then t10k, then the only one; plain before gzipped."""
    splits: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        match = IMAGES.fullmatch(name)
        if match:
            splits.setdefault(match["split"], name)
    if not splits:
        raise InputError(f"mnist:{folder} holds no IDX images; expected a file such as train-images-idx3-ubyte.gz")
    for wanted in ("train-", "t10k-", ""):
        found = [split for split in splits if split.endswith(wanted)]
        if len(found) == 1:
            return os.path.join(folder, splits[found[0]])
        if found:
            files = ", ".join(splits[split] for split in found)
            raise InputError(f"mnist:{folder} holds several sets ({files}); pass one of these files: mnist:FILE")
    raise AssertionError("unreachable: every name ends in the empty string")


def _labels_beside(images: str) -> str | None:
    """The labels file that belongs to an images file, or None."""
    folder, name = os.path.split(images)
    plain = name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for candidate in (plain, plain + ".gz"):
        file = os.path.join(folder, candidate)
        if candidate not in (name, name.removesuffix(".gz")) and os.path.isfile(file):
            return file
    return None


def _read(path: str, dims: int) -> np.ndarray:
    """Array of unsigned bytes with this many dimensions. Raises InputError for a wrong header or length."""
    kind, expected = ("images", BYTE << 8 | 3) if dims == 3 else ("labels", BYTE << 8 | 1)
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror})") from error
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
        body = _read_up_to(file, size + 1, path)  # one more than promised, to notice what is too long
    if len(body) != size:
        found = f"{len(header) + len(body)} bytes" if len(body) < size else "more"
        raise InputError(
            f"{path}: expected {len(header) + size} bytes for {' x '.join(map(str, shape))}, found {found}"
            f"{' after unpacking' if zipped else ''}; download the file again"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _read_up_to(file: BufferedReader | gzip.GzipFile, size: int, path: str) -> bytes:
    """At most `size` bytes, fewer where the file ends early. Raises InputError where it cannot be unpacked."""
    parts: list[bytes] = []
    left = size
    try:
        while left and (part := file.read1(min(left, 2**20))):
            parts.append(part)
            left -= len(part)
    except EOFError:  # gzip's word for a file that was cut off; its length is checked by the caller
        pass
    except (OSError, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked ({error}); download the file again") from error
    return b"".join(parts)
