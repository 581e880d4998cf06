"""Tensors from files of safetensors and torch, without executing anything, and strict assignment to a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit_plugins.loaders.strict_weights import check_names

MOST_NAMES = 6
"""Number of tensors that a message names."""


def read_weights(path: str | Path) -> Any:
    """Read a file of safetensors or torch.

    Arguments:
        path: The file. A torch file may contain tensors, numbers, texts, and containers of these.
    Returns:
        Tensors by name for a safetensors file, and the saved object for a torch file. The tensors are on the CPU and
        are read from the disk when they are used.
    Raises:
        InputError: If the file does not exist, is damaged, or contains other objects. The message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder, expected a file' if path.is_dir() else 'no such file'}")
    with path.open("rb") as file:
        start = file.read(9)
    try:
        if start[8:9] == b"{":  # after the length of the header, 8 bytes
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=start[:2] == b"PK")
    except Exception as error:  # damaged files raise exceptions of many types
        reason = str(error).split("\n")[0].split(". ")[0]
        if "weights_only" in str(error) or "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise InputError(
                f"{path} contains objects other than tensors, numbers and texts, and nothing in it is executed: save "
                "the state_dict of its model as safetensors with the program that wrote it"
            ) from error
        raise InputError(f"{path} is not a file of safetensors or torch, or it is damaged ({reason})") from error


def safetensors_metadata(path: str | Path) -> dict[str, str]:
    """Return the texts in the header of a safetensors file by name; empty for other files."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError:
        return {}


def require_tensors(value: Any, path: str | Path, name: str = "") -> dict[str, Tensor]:
    """Return the tensors of a state dict.

    Arguments:
        value: A part of the content of a file.
        path: The file, for messages.
        name: Name of the part, for messages.
    Returns:
        Tensors by name.
    Raises:
        InputError: If the value is not a mapping of names to tensors.
    """
    part = f"its part {name!r}" if name else "it"
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        raise InputError(f"{path}: {part} is not a state dict, but {_described(value)}")
    for key, tensor in value.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"{path}: {part} is not a state dict: {key!r} is {_described(tensor)}, not a tensor")
    return dict(value)


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Set all parameters and buffers of a network, in their dtype.

    Arguments:
        network: The network.
        tensors: Tensors by name.
        path: File of the tensors, for messages.
    Raises:
        InputError: If a tensor is missing, is not part of the network, or has another shape, or contains a number that
            is not finite. The message names the tensors.
    """
    own = network.state_dict()
    check_names(_shapes(own), _shapes(tensors), path)
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise InputError(f"{path}: the tensor {name} contains numbers that are not finite")
    network.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in tensors.items()})


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(repr, list(value)[:MOST_NAMES])) or 'nothing'}"
    return f"a {type(value).__name__}"
