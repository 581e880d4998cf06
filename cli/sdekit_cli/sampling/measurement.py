"""Samples and measurements read from files or simulated, and conversions between the units of data and model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdekit.errors import InputError
from sdekit_cli.terminal.console import note

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.inverse.operators import Operator
    from sdekit.models import OpenedModel

FAR = 1e3
"""Numbers that exceed the data by more than this factor are refused. Pixels to 255 for data to 1 do not exceed it."""

EIGHT_BITS = (0.0, 255.0)
"""Range of data of 8 bits."""


@dataclass(frozen=True)
class Measurement:
    """A measurement in the units of the data.

    Arguments:
        operator: Operator on samples in the units of the data.
        y: Measured values, (*measured).
        clean: Sample that was measured, (*shape), or None if it is unknown.
    """

    operator: Operator
    y: Tensor
    clean: Tensor | None


def read_numbers(path: Path, opened: OpenedModel, option: str, *, holes: bool = False) -> np.ndarray:
    """Read an array or a sequence as it is, or an image with its pixels mapped from 0..255 to the range of the data.

    The numbers of grey images of 16 or 32 bits are used as they are, unless the data have 8 bits.

    Arguments:
        path: File with an array or an image.
        opened: The model.
        option: Option that names the file, for messages.
        holes: Whether numbers may be missing; they are NaN in the result.
    Returns:
        The numbers in the units of the data.
    Raises:
        InputError: If the file cannot be read, or it is an image and the data have no range.
    """
    from sdekit.data.formats import is_deep, is_sequence_file, read_image_header, read_regular, read_sequence
    from sdekit.inverse.operators import is_array_file, read_array

    if opened.kind == "sequence" and is_sequence_file(path):
        return read_sequence(path, opened.channel_names, holes=holes, label=option)
    low, high = opened.units.low, opened.units.high
    eight_bits = (low, high) == EIGHT_BITS
    numbers = read_array(path, option, holes=holes, scale=eight_bits)
    if is_array_file(path):
        return numbers
    if not eight_bits and is_deep(read_image_header(read_regular(str(path)))):
        return numbers
    if low is None or high is None:
        raise InputError(
            f"{option} {path}: an image cannot be used, because the data of this run have no values for black and "
            "white: give a .npy file in the data's units"
        )
    return low + numbers / 255 * (high - low)


def read_sample(path: Path, opened: OpenedModel, option: str) -> Tensor:
    """Read one sample from an array or an image.

    Arguments:
        path: File with the sample; images may be grey, in colours, or channels last.
        opened: The model.
        option: Option that names the file, for messages.
    Returns:
        Sample (*shape) in the units of the data, channels first.
    Raises:
        InputError: If it has another shape than the samples of the run, or is far out of their range.
    """
    import torch

    from sdekit.inverse.operators import has_holes

    sample = torch.from_numpy(read_numbers(path, opened, option))
    if has_holes(path):
        note("{} {}: transparent pixels are blended with white", option, path)
    shape = opened.data_shape
    if len(shape) == 3 and tuple(sample.shape) != shape:
        if sample.ndim == 3 and tuple(sample.movedim(-1, 0).shape) == shape:
            sample = sample.movedim(-1, 0)
        elif sample.ndim == 2 and tuple(sample.shape) == shape[1:]:
            sample = sample.expand(shape)
        elif sample.ndim == 3 and shape[0] == 1 and tuple(sample.shape) == (*shape[1:], 3):
            sample = (sample @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64))[None]
    if len(shape) != 3 and tuple(sample.shape) != shape:
        arranged = torch.from_numpy(np.ascontiguousarray(opened.units.channels_first(sample.numpy()[None])[0]))
        sample = arranged if tuple(arranged.shape) == shape else sample
        sample = sample[None] if tuple(sample.shape) == shape[1:] and shape[0] == 1 else sample
    if tuple(sample.shape) != shape:
        raise InputError(f"{option} {path}: has shape {tuple(sample.shape)}, but samples of this run have {shape}")
    _check_range(sample, _typical_samples(opened, 1), f"{option} {path}", "the data of this run reach")
    return sample.contiguous()


def measure(
    opened: OpenedModel,
    operator_name: str,
    operator_options: dict[str, Any],
    measurement: Path | None,
    clean: Path | None,
    noise_std: float,
) -> Measurement:
    """Read a measurement from a file, or simulate the measurement of a clean sample.

    Arguments:
        opened: The model.
        operator_name: Registered name of the operator.
        operator_options: Options of the operator.
        measurement: File with the measurement, or None.
        clean: File with the sample to measure if `measurement` is None.
        noise_std: Standard deviation of the noise, which is added to a simulated measurement (with seed 0).
    Returns:
        The measurement.
    Raises:
        InputError: If a file cannot be read, has the wrong shape, or is far out of the range of the data.
    """
    import torch

    from sdekit.inverse.operators import leave_out_holes, measurement_from_array
    from sdekit.registry import build

    operator: Operator = build("operator", operator_name, opened.data_shape, **operator_options)
    if measurement is not None:
        label = f"--measurement {measurement}"
        array = read_numbers(measurement, opened, "--measurement", holes=True)
        if opened.kind == "sequence":
            array = _with_future(array, opened, operator, label)
        if np.isnan(array).any():
            only_holes = not {"mask", "keep", "first"} & operator_options.keys()
            operator = leave_out_holes(operator, array, only_holes=only_holes, label=label)
        y = measurement_from_array(array, operator, label)
        typical = operator.apply(_typical_samples(opened, 8)).abs() + noise_std
        subject = f"measurements of this run's data by {operator_name} reach"
        _check_range(y, typical, label, subject)
        return Measurement(operator, y, None)
    assert clean is not None
    x = read_sample(clean, opened, "--degrade")
    y = operator.apply(x[None])[0]
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Measurement(operator, operator.check(y + noise_std * noise), x)


def _with_future(array: np.ndarray, opened: OpenedModel, operator: Operator, label: str) -> np.ndarray:
    """Return a measurement of a mask that contains only the start of a sequence, with NaN at the other values."""
    from sdekit.inverse.operators import Mask

    channels, length = opened.data_shape
    start = array[None] if array.ndim == 1 and channels == 1 else array
    if start.ndim == 2 and start.shape[0] != channels and start.shape[1] == channels:
        start = start.T
    known = start.shape[-1]
    if not isinstance(operator, Mask) or start.shape != (channels, known) or known >= length:
        return array
    note("{}: the first {} of {} values are known, and the others are forecast", label, known, length)
    return np.pad(start, ((0, 0), (0, length - known)), constant_values=np.nan)


def _typical_samples(opened: OpenedModel, n: int) -> Tensor:
    """Return numbers (n, *shape) of about the largest size in the data, in the units of the data, float64."""
    import torch

    x = torch.randn(n, *opened.data_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return _with_data_units(3 * x, opened)


def _check_range(numbers: Tensor, typical: Tensor, place: str, subject: str) -> None:
    """Check that numbers are not far larger than typical ones, because they are then in other units."""
    largest, usual = float(numbers.abs().max()), float(typical.abs().max())
    if largest > FAR * usual > 0:
        raise InputError(
            f"{place}: contains {largest:.3g}, but {subject} about {usual:.3g}: give it in the data's units"
        )


def in_data_units(x: Tensor, opened: OpenedModel) -> Tensor:
    """Convert samples (B, *shape) to data (B, *data_shape) in their own units, float64 on the CPU.

    Samples of a model of latents are decoded.
    """
    import torch

    with torch.no_grad():
        return _with_data_units(opened.decode(x), opened)


def _with_data_units(x: Tensor, opened: OpenedModel) -> Tensor:
    """Convert data (B, *data_shape) from the units of the model, or of its codec, to their own, float64 on the CPU."""
    import torch

    return torch.from_numpy(opened.units.data_values(x.detach().cpu().double().numpy()))


def as_images(x: Tensor, opened: OpenedModel) -> np.ndarray | None:
    """Convert samples (B, C, h, w) in the units of the data to pixels.

    Arguments:
        x: The samples.
        opened: The model.
    Returns:
        Pixels (B, h, w, 1 or 3), uint8, see `to_pixels`; None if the samples are not images.
    """
    from sdekit.plotting import to_pixels

    if opened.kind != "image" or x.ndim != 4:
        return None
    return np.ascontiguousarray(to_pixels(x.numpy(), replace(opened.units, layout="same")))


def side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """Enlarge images (h, w, c) of any sizes to the size of the largest one, and stack them to (n, H, W, 3)."""
    from PIL import Image

    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)

    def enlarge(image: np.ndarray) -> np.ndarray:
        rgb = np.repeat(image, 3, 2) if image.shape[2] == 1 else image
        return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.NEAREST))

    return np.stack([enlarge(image) for image in images])
