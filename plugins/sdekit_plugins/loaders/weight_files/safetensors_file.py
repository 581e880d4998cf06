"""Read the tensors of safetensors files, by mapping the file into memory."""

from __future__ import annotations

import json
import os
from typing import Any

import torch

from sdekit.errors import InputError

from .inert_pickle import Region
from .tensor_in_file import MappedFile, Storage, TensorInFile

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LONGEST_HEADER = 2**24
"""Largest header in bytes that is read; headers of networks have less than 1 MB."""


def read_safetensors(region: Region) -> dict[str, TensorInFile]:
    """Read the header of a safetensors file.

    Arguments:
        region: The whole file.
    Returns:
        Its tensors by name.
    Raises:
        InputError: If the file is damaged, or a tensor has a dtype that torch does not have.
    """
    header, start = _header(region)
    file = MappedFile(region.source, region.stop)
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = DTYPES.get(entry["dtype"])
        if dtype is None:
            raise InputError(
                f"{region.source}: the tensor {name} has the type {entry['dtype']}, which is not supported"
            )
        first, last = entry["data_offsets"]
        storage = Storage(dtype, (last - first) // dtype.itemsize, file=file)
        storage.region = Region(region.file, start + first, start + last, region.source)
        tensors[name] = TensorInFile.contiguous(storage, tuple(entry["shape"]))
    return tensors


def safetensors_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the texts in the header of a safetensors file by name; empty for other files."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError:
        return {}


def _header(region: Region) -> tuple[dict[str, Any], int]:
    """Return the header, which the library checks first, and the position of the first number."""
    from safetensors import SafetensorError, safe_open

    length = int.from_bytes(region.read(8), "little")
    if length > LONGEST_HEADER:
        raise region.damaged(f"its header has {length} bytes")
    try:
        with safe_open(region.source, "pt"):  # checks shapes, and that the tensors fill the file without overlap
            header: dict[str, Any] = json.loads(region.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise region.damaged(str(error)) from error
    return header, region.position
