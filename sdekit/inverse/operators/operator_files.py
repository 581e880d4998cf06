"""Masks, kernels and matrices from files: .npy, or an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdekit.data.formats import decode_image, read_image_header, read_npy
from sdekit.errors import InputError


def read_array(path: str | Path, label: str) -> np.ndarray:
    """Read the numbers of a .npy file, or the pixels of an image.

    Arguments:
        path: Path of the file.
        label: What the file contains, for messages, such as "mask".
    Returns:
        Float64 array: the unchanged array of a .npy file, or the pixels of an image, (H, W) or (H, W, 3), from 0 to
        255.
    Raises:
        InputError: If the file cannot be read, or contains numbers that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{label} {path}: no such file")
    try:
        array = read_npy(str(path), "it") if path.suffix == ".npy" else _pixels(path)
        numbers = np.array(array, dtype=np.float64)
    except Exception as error:  # numpy and Pillow raise many kinds of errors for a damaged file
        raise InputError(f"{label} {path}: neither an array (.npy) nor an image that can be read ({error})") from error
    if not np.isfinite(numbers).all():
        raise InputError(f"{label} {path}: contains numbers that are not finite")
    return numbers


def _pixels(path: Path) -> np.ndarray:
    data = path.read_bytes()
    pixels = decode_image(data, None, 3 if read_image_header(data).colour else 1)
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def read_mask(path: str | Path, shape: tuple[int, ...]) -> Tensor:
    """Read a mask: 1 at numbers above half of the largest one in the file (white), and 0 elsewhere.

    Arguments:
        path: Path of a .npy file or an image. For images (C, H, W) it may be (H, W), (H, W, C) or (C, H, W).
        shape: Shape of a sample.
    Returns:
        The mask, float64, of that shape.
    Raises:
        InputError: If the mask has another size, or is 0 everywhere.
    """
    array = read_array(path, "mask")
    mask = torch.from_numpy(array)
    if len(shape) == 3 and tuple(mask.shape) != shape:
        if mask.ndim == 3 and tuple(mask.movedim(-1, 0).shape) == shape:
            mask = mask.movedim(-1, 0)
        else:  # one mask for all channels; a file with colours counts as its brightest channel
            mask = mask.amax(-1) if mask.ndim == 3 and tuple(mask.shape[:2]) == shape[1:] else mask
            mask = mask.expand(shape) if tuple(mask.shape) == shape[1:] else mask
    if tuple(mask.shape) != shape:
        size = f"{shape[2]} x {shape[1]} pixels" if len(shape) == 3 else f"shape {tuple(shape)}"
        raise InputError(f"mask {path}: has shape {tuple(array.shape)}; it must be as large as a sample, {size}")
    keep = (mask > mask.max() / 2).double()
    if not bool(keep.any()):
        raise InputError(
            f"mask {path}: is 0 everywhere, so that nothing is measured: make measured pixels white (in an array: 1)"
        )
    return keep.contiguous()
