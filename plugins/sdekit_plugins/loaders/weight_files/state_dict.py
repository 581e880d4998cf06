"""Open a file of weights, check that it contains tensors by name, and fill a network with them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit_plugins.loaders.strict_weights import check_names

from .safetensors_file import read_safetensors
from .tensor_in_file import TensorInFile
from .torch_file import open_region, read_torch_file

MOST_NAMES = 6
"""Number of tensors that a message names."""
ZIP_START = b"PK"


@contextmanager
def open_weights(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a file of safetensors or of torch.save. Nothing in it is run.

    Arguments:
        path: The file.
    Yields:
        Tensors by name for a safetensors file, and the saved object as plain data for a file of torch.save. Tensors
        are `TensorInFile`; load them before the file is closed.
    Raises:
        InputError: If there is no such file, it is damaged, or contains objects that files of weights do not need.
    """
    with open_region(path) as region:
        start = region.read(min(9, region.stop))
        region.position = 0
        is_safetensors = start[8:] == b"{" and not start.startswith(ZIP_START)  # after 8 bytes, the header's length
        yield read_safetensors(region) if is_safetensors else read_torch_file(region)


def tensors_of(content: Any, source: str, name: str = "", *, prefix: str = "") -> dict[str, TensorInFile]:
    """Return the tensors of a state dict.

    Arguments:
        content: Content of a file, or a part of it.
        source: Path of the file, for messages.
        name: Name of the part, for messages.
        prefix: Prefix that is removed from the names that have it, such as "module." of DataParallel.
    Returns:
        Tensors by name.
    Raises:
        InputError: If the content is not a mapping of names to tensors.
    """
    part = f"its part {name!r}" if name else "its content"
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise InputError(f"{source}: {part} is not a state dict, but {_described(content)}")
    for key, tensor in content.items():
        if not isinstance(tensor, TensorInFile):
            raise InputError(
                f"{source}: {part} is not a state dict: {key[:80]!r} is {_described(tensor)}, not a tensor"
            )
    return {key.removeprefix(prefix): tensor for key, tensor in content.items()}


def load_strictly(network: nn.Module, tensors: Mapping[str, TensorInFile], source: str) -> None:
    """Set all parameters and buffers of a network, in their dtype, tensor by tensor.

    Arguments:
        network: The network.
        tensors: Tensors by name.
        source: Path of the file, for messages.
    Raises:
        InputError: If a tensor is missing, is not part of the network, or has another shape, or contains a number that
            is not finite. The message names the tensors.
    """
    own = network.state_dict()
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    check_names(shapes, {name: tensor.shape for name, tensor in tensors.items()}, source)
    for name, tensor in tensors.items():
        if tensor.dtype.is_complex and not own[name].is_complex():
            raise InputError(
                f"{source}: the tensor {name} has the type {tensor.dtype}, and this network needs real numbers"
            )
        with torch.no_grad():
            own[name].copy_(tensor.load())
        if not _is_finite(own[name]):
            raise InputError(f"{source}: the tensor {name} contains numbers that are not finite")


def _is_finite(value: Tensor) -> bool:
    """Whether all numbers are finite, without memory for an answer per number as `isfinite` needs."""
    if value.numel() == 0 or not (value.is_floating_point() or value.is_complex()):
        return True
    low, high = (torch.view_as_real(value) if value.is_complex() else value).aminmax()
    return math.isfinite(low) and math.isfinite(high)


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        names = ", ".join(repr(str(key)[:80]) for key in list(value)[:MOST_NAMES])
        return f"a mapping of {names or 'nothing'}"
    return "a tensor" if isinstance(value, TensorInFile) else f"a {type(value).__name__}"
