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


def read_sample(path: Path, opened: OpenedModel, option: str, *, resize: bool = False) -> Tensor:
    """Read one sample from an array or an image.

    Arguments:
        path: File with the sample; images may be grey, in colours, or channels last.
        opened: The model.
        option: Option that names the file, for messages.
        resize: Whether to crop and resize an image of another size, as the option --size of training does.
    Returns:
        Sample (*shape) in the units of the data, channels first.
    Raises:
        InputError: If it has another shape than the samples of the run, or is far out of their range.
    """
    import torch

    from sdekit.inverse.operators import has_holes, is_array_file

    shape = opened.data_shape
    if resize and opened.kind != "image":
        raise InputError(f"--resize: samples of this run are not images; their shape is {shape}")
    sample = torch.from_numpy(read_numbers(path, opened, option))
    read_shape = tuple(sample.shape)
    if resize and not is_array_file(path) and read_shape[:2] != shape[1:]:
        note("{} {}: {} pixels are cropped and resized to {}", option, path, _size(read_shape), _size(shape[1:]))
        sample = torch.from_numpy(_resized_pixels(path, opened))
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
        raise InputError(f"{option} {path}: {_shape_problem(path, read_shape, opened, resize=resize)}")
    if has_holes(path):
        note("{} {}: transparent pixels are blended with white", option, path)
    if shape[:1] == (1,) and read_shape[2:] == (3,) and not is_array_file(path):
        note("{} {}: colours are converted to grey, because samples of this run are grey", option, path)
    _check_range(sample, _typical_samples(opened, 1), f"{option} {path}", "the data of this run reach")
    return sample.contiguous()


def _resized_pixels(path: Path, opened: OpenedModel) -> np.ndarray:
    """Crop and resize an image as samples are. The result is (C, H, W), or grey (H, W), in data units.

    The pixels are those of the option --size of training, except that 16 bits are kept if the data do not have 8 bits.
    """
    from sdekit.data.formats import decode_image, is_deep, read_image_header, read_regular

    data = read_regular(str(path))
    header = read_image_header(data)
    low, high = opened.units.low, opened.units.high
    as_they_are = is_deep(header) and (header.mode == "F" or (low, high) != EIGHT_BITS)
    channels, height, width = opened.data_shape
    pixels = decode_image(data, (width, height), 1 if as_they_are or channels != 3 else 3, deep=as_they_are)
    numbers = pixels.astype(np.float64)
    if not as_they_are:
        assert low is not None and high is not None  # `read_numbers` refuses images otherwise
        numbers = low + numbers / 255 * (high - low)
    return numbers if len(numbers) == channels else numbers[0]


def _size(shape: tuple[int, ...]) -> str:
    """Return the size of an image of shape (H, W, ...) as WIDTHxHEIGHT."""
    return f"{shape[1]}x{shape[0]}"


def _shape_problem(path: Path, read: tuple[int, ...], opened: OpenedModel, *, resize: bool) -> str:
    """Describe how the numbers of a file differ in shape from a sample, with the remedy."""
    from sdekit.inverse.operators import is_array_file

    shape = opened.data_shape
    shapes = f"has shape {read}, but samples of this run have {shape}"
    if opened.kind != "image":
        return f"{shapes}: give a file of that shape"
    if is_array_file(path):
        remedy = "--resize works for image files only" if resize else "to resize a picture, give an image file"
        return f"{shapes}: give an array of that shape; {remedy}{'' if resize else ' and --resize'}"
    if shape[0] not in (1, 3):
        return f"{shapes}: an image file has 1 or 3 channels, so give a .npy file of that shape"
    return (
        f"has {_size(read)} pixels, but samples of this run have {_size(shape[1:])}: add --resize to crop it to their "
        "aspect ratio and resize it"
    )


def measure(
    opened: OpenedModel,
    operator_name: str,
    operator_options: dict[str, Any],
    measurement: Path | None,
    clean: Path | None,
    noise_std: float,
    *,
    resize: bool = False,
) -> Measurement:
    """Read a measurement from a file, or simulate the measurement of a clean sample.

    Arguments:
        opened: The model.
        operator_name: Registered name of the operator.
        operator_options: Options of the operator.
        measurement: File with the measurement, or None.
        clean: File with the sample to measure if `measurement` is None.
        noise_std: Standard deviation of the noise, which is added to a simulated measurement (with seed 0).
        resize: Whether to crop and resize the image `clean` to the size of the samples.
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
        try:
            y = measurement_from_array(array, operator, label)
        except InputError as error:
            raise InputError(_with_remedy(str(error), array, operator)) from None
        typical = operator.apply(_typical_samples(opened, 8)).abs() + noise_std
        subject = f"measurements of this run's data by {operator_name} reach"
        _check_range(y, typical, label, subject)
        return Measurement(operator, y, None)
    assert clean is not None
    x = read_sample(clean, opened, "--degrade", resize=resize)
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


def _with_remedy(problem: str, array: np.ndarray, operator: Operator) -> str:
    """Return a message about a measurement of the wrong shape with its remedy. Other messages are not changed."""
    if " has shape " not in problem:
        return problem
    if array.ndim in (2, 3) and len(operator.shape) == 3:
        return (
            f"{problem}. A measurement is not resized, because resized pixels are no longer A(x) + noise: measure at "
            "this size, or for a trial pass a clean picture by --degrade FILE --resize"
        )
    return f"{problem}: give the numbers that the operator makes, in that shape"


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
