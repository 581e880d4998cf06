"""Masks, kernels and matrices from files: .npy, or an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdekit.errors import InputError


def read_array(path: str | Path, what: str) -> np.ndarray:
    """The numbers of a .npy file as they are, or the pixels of an image, (H, W) or (H, W, 3), 0 to 255, float64.

    what: how a message calls the file. Raises InputError where it cannot be read, or holds no finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{what} {path}: no such file")
    try:
        array = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _pixels(path)
        numbers = np.asarray(array, dtype=np.float64)
    except Exception as error:  # whatever numpy or Pillow raise for a damaged file
        raise InputError(f"{what} {path}: neither an array (.npy) nor an image that can be read ({error})") from error
    if not np.isfinite(numbers).all():
        raise InputError(f"{what} {path}: holds numbers that are not finite")
    return numbers


def _pixels(path: Path) -> np.ndarray:
    from sdekit.data.formats import decode_image, read_image_header

    data = path.read_bytes()
    pixels = decode_image(data, None, 3 if read_image_header(data).colour else 1)
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def read_mask(path: str | Path, shape: tuple[int, ...]) -> Tensor:
    """What a mask file keeps, as 0 and 1 of `shape`, float64: what is above half of its largest value (white).

    For images (C, H, W) the file may be (H, W), (H, W, C) or (C, H, W). Raises InputError for another size, and for a
    mask that keeps nothing.
    """
    array = read_array(path, "mask")
    found = torch.from_numpy(array)
    if len(shape) == 3 and tuple(found.shape) != shape:
        if found.ndim == 3 and tuple(found.movedim(-1, 0).shape) == shape:
            found = found.movedim(-1, 0)
        else:  # one mask for every channel, also where its file has colours
            found = found.amax(-1) if found.ndim == 3 and tuple(found.shape[:2]) == shape[1:] else found
            found = found.expand(shape) if tuple(found.shape) == shape[1:] else found
    if tuple(found.shape) != shape:
        size = f"{shape[2]} x {shape[1]} pixels" if len(shape) == 3 else f"shape {tuple(shape)}"
        raise InputError(f"mask {path}: has shape {tuple(array.shape)}; it must be as large as a sample, {size}")
    keep = (found > found.max() / 2).double()
    if not bool(keep.any()):
        raise InputError(f"mask {path}: keeps nothing; what is white (in an array: 1) is measured")
    return keep.contiguous()
