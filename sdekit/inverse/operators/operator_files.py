"""Masks, kernels and matrices from files: .npy, or an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdekit.data.formats import (
    check_regular,
    decode_alpha,
    decode_image,
    is_deep,
    read_image_header,
    read_npy,
    read_regular,
)
from sdekit.errors import InputError

OPAQUE = 128
"""Smallest alpha of a pixel that counts as opaque. Pixels with a smaller alpha are holes."""

MOST_BYTES = 2**31
"""Largest size of an array."""


def read_array(path: str | Path, label: str, *, holes: bool = False, scale: bool = True) -> np.ndarray:
    """Read the numbers of a .npy file, or the pixels of an image.

    Arguments:
        path: Path of the file.
        label: What the file contains, for messages, such as "mask".
        holes: Whether numbers may be missing: NaN in a .npy file, and transparent pixels of an image, which are NaN in
            the result. Otherwise transparent pixels are blended with white.
        scale: Whether the pixels of images of 16 bits are scaled to the range from 0 to 255.
    Returns:
        Float64 array: the unchanged array of a .npy file, or the pixels of an image, (H, W) or (H, W, 3), from 0 to
        255. Without `scale`, grey images of 16 or 32 bits have the numbers of the file.
    Raises:
        InputError: If the file cannot be read, or contains numbers that are not finite.
    """
    path = Path(path)
    check_regular(str(path), f"{label} {path}", "an array (.npy) or an image")
    try:
        array = read_npy(str(path), "it", most_bytes=MOST_BYTES) if is_array_file(path) else _pixels(path, holes, scale)
        numbers = np.array(array, dtype=np.float64)
    except Exception as error:  # numpy and Pillow raise many kinds of errors for a damaged file
        raise InputError(f"{label} {path}: neither an array (.npy) nor an image that can be read ({error})") from error
    if np.isinf(numbers).any() or (not holes and np.isnan(numbers).any()):
        raise InputError(f"{label} {path}: contains numbers that are not finite")
    if np.isnan(numbers).all():
        raise InputError(f"{label} {path}: every number is missing (NaN, or a transparent pixel)")
    return numbers


def is_array_file(path: str | Path) -> bool:
    """Return whether a file is read as an array rather than as an image.

    Arguments:
        path: Path of the file.
    Returns:
        True for the suffix .npy.
    """
    return Path(path).suffix.lower() == ".npy"


def has_holes(path: str | Path) -> bool:
    """Return whether an image has pixels that are not fully opaque. Files that cannot be read have none.

    Arguments:
        path: Path of the file.
    Returns:
        True for an image with transparency that varies or is constant below 255.
    """
    if is_array_file(path):
        return False
    try:
        return decode_alpha(read_regular(str(path))) is not None
    except Exception:  # `read_array` reports a damaged file
        return False


def _pixels(path: Path, holes: bool, scale: bool) -> np.ndarray:
    """Decode an image to (H, W) or (H, W, 3), with NaN at transparent pixels if `holes`."""
    data = read_regular(str(path))
    header = read_image_header(data)
    if is_deep(header):
        numbers: np.ndarray = decode_image(data, None, 1, deep=True)[0].astype(np.float64)
        return numbers / 257 if scale and header.mode != "F" else numbers
    channels = 3 if header.colour else 1
    alpha = decode_alpha(data) if holes else None
    pixels = decode_image(data, None, channels, background=None if holes else "white").astype(np.float64)
    if alpha is not None:
        pixels[:, alpha < OPAQUE] = np.nan
    last: np.ndarray = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    return last


def read_mask(path: str | Path, shape: tuple[int, ...], *, invert: bool = False) -> Tensor:
    """Read a mask: 1 at numbers above half of the largest one in the file (white), and 0 elsewhere.

    If the transparency of an image varies, the mask is 1 at opaque pixels and 0 at transparent pixels, whatever their
    colours are.

    Arguments:
        path: Path of a .npy file or an image. For images (C, H, W) it may be (H, W), (H, W, C) or (C, H, W), for
            sequences (L,) or (C, L), and for volumes (D, H, W) or (C, D, H, W).
        shape: Shape of a sample.
        invert: Whether to exchange 0 and 1.
    Returns:
        The mask, float64, of that shape.
    Raises:
        InputError: If the mask has another size, or is 0 everywhere, or if both the transparency and black and white
            may be the mask.
    """
    array = _mask_numbers(path)
    mask = torch.from_numpy(array)
    if len(shape) == 3 and tuple(mask.shape) != shape:
        if mask.ndim == 3 and tuple(mask.movedim(-1, 0).shape) == shape:
            mask = mask.movedim(-1, 0)
        else:  # one mask for all channels; a file with colours counts as its brightest channel
            mask = mask.amax(-1) if mask.ndim == 3 and tuple(mask.shape[:2]) == shape[1:] else mask
            mask = mask.expand(shape) if tuple(mask.shape) == shape[1:] else mask
    elif len(shape) > 1 and tuple(mask.shape) == shape[1:]:  # one mask for all channels of a sequence or a volume
        mask = mask.expand(shape)
    if tuple(mask.shape) != shape:
        size = f"{shape[2]} x {shape[1]} pixels" if len(shape) == 3 else f"shape {tuple(shape)}"
        raise InputError(
            f"mask {path}: has shape {tuple(array.shape)}; it must be as large as a sample, {size}: draw it at that "
            "size, because a resized mask mixes measured and missing numbers"
        )
    keep = ((mask > mask.max() / 2) != invert).double()
    if not bool(keep.any()):
        if invert:
            raise InputError(f"mask {path}: with invert, nothing is measured, because the mask is 1 everywhere")
        raise InputError(
            f"mask {path}: is 0 everywhere, so that nothing is measured: make measured pixels white (in an array: 1), "
            "or pass invert=true"
        )
    return keep.contiguous()


def _mask_numbers(path: str | Path) -> np.ndarray:
    """Return the numbers of a mask, or 1 at opaque pixels and 0 at transparent pixels if the transparency varies."""
    if not has_holes(path):
        return read_array(path, "mask")
    pixels = read_array(path, "mask", holes=True)
    opaque = pixels if pixels.ndim == 2 else pixels.max(-1)
    visible = opaque[~np.isnan(opaque)]
    black_and_white = ((visible < 16) | (visible > 239)).all()
    if black_and_white and (visible < 16).any() and (visible > 239).any():
        raise InputError(
            f"mask {path}: its transparency and its black and white pixels may both be the mask. Save it without an "
            "alpha channel, with measured pixels white"
        )
    return np.where(np.isnan(opaque), 0.0, 1.0)
