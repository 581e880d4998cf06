"""Tensors and JSON files that are written completely or not at all, and contain a checksum of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sdekit.data.formats import read_regular
from sdekit.errors import InputError

from .json_files import format_json, load_fields, parse_json
from .layout import CONFIG
from .staging import write_atomically

if TYPE_CHECKING:
    from .recipe import Recipe

MOST_HEADER = 2**25
"""Largest size in bytes of the header of a safetensors file."""
MOST_TENSORS = 100_000
"""Largest number of tensors in a file."""
REMEDY = "Restore it from a copy, or train again"
"""Advice at the end of messages about damaged files."""


def save_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Save a JSON object, with the SHA-256 of its fields as the additional field "sha256".

    Arguments:
        path: File to write.
        fields: JSON-ready values by name.
    Raises:
        SdekitError: If the file cannot be written.
    """
    fields = {**fields, "sha256": _json_digest(fields)}
    write_atomically(path, (format_json(fields) + "\n").encode())


def load_json(path: Path) -> dict[str, Any]:
    """Read a file written by `save_json`.

    Arguments:
        path: The file.
    Returns:
        The fields without their checksum.
    Raises:
        InputError: If the file is missing, truncated or altered.
    """
    try:
        fields = dict(load_fields(path))
        expected = fields.pop("sha256")
        actual = _json_digest(fields)
    except FileNotFoundError:
        raise InputError(f"{path} is missing. {REMEDY}") from None
    except (OSError, ValueError, KeyError, RecursionError) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError(f"{path} is damaged or truncated ({reason}). {REMEDY}") from error
    if expected != actual:
        raise InputError(_altered(path, expected, actual))
    return fields


def save_tensors(path: Path, tensors: Mapping[str, Tensor], fields: Mapping[str, Any] | None = None) -> None:
    """Save a safetensors file, with fields and the SHA-256 of tensors and fields in its header.

    Arguments:
        path: File to write.
        tensors: Tensors by name.
        fields: JSON-ready values by name.
    Raises:
        SdekitError: If the file cannot be written.
    """
    from safetensors.torch import save

    separate, storages = dict[str, Tensor](), set[int]()
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        if (storage := whole.untyped_storage().data_ptr()) in storages:
            whole = whole.clone()  # safetensors refuses tensors that share memory
        separate[name] = whole
        storages.add(storage)
    record = json.dumps(dict(fields or {}))
    write_atomically(path, save(separate, {"fields": record, "sha256": _tensor_digest(separate, record)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by `save_tensors`.

    Arguments:
        path: The file.
    Returns:
        Tensors by name, on the CPU, and the fields.
    Raises:
        InputError: If the file is missing, truncated or altered.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        raise InputError(f"{path} is missing. {REMEDY}") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated ({error}). {REMEDY}") from error
    record, expected = metadata.get("fields", "{}"), metadata.get("sha256", "none")
    actual = _tensor_digest(tensors, record)
    if actual != expected:
        raise InputError(_altered(path, expected, actual))
    try:
        fields = parse_json(record)
    except ValueError as error:
        raise InputError(f"{path}: its fields cannot be read ({str(error)[:200]}). {REMEDY}") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path}: its fields are {record[:60]}; expected a table. {REMEDY}")
    return tensors, fields


def check_header(path: Path) -> None:
    """Check the header of a safetensors file before the file is mapped into memory.

    Arguments:
        path: The file.
    Raises:
        OSError: If the file cannot be read or is not a regular file.
        ValueError: If the header is too long, is no JSON, or names too many tensors.
    """
    start = read_regular(str(path), 8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(MOST_HEADER, path.stat().st_size - 8):
        raise ValueError(f"its header of {length:,} bytes is longer than the file, or than {MOST_HEADER:,} bytes")
    header = parse_json(read_regular(str(path), 8 + length)[8:])
    if not isinstance(header, dict) or len(header) > MOST_TENSORS:
        raise ValueError(f"its header is not a table of at most {MOST_TENSORS:,} tensors")


def recorded_checksum(path: Path) -> str:
    """Return the checksum in the header of a file written by `save_tensors`, without reading the tensors.

    Arguments:
        path: The file.
    Returns:
        SHA-256 in hexadecimal digits.
    Raises:
        InputError: If the file is missing or has no readable header.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_header(path)
        with safe_open(path, "pt") as file:
            return str((file.metadata() or {}).get("sha256"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}). {REMEDY}") from error


def step_of(path: Path, fields: Mapping[str, Any]) -> int:
    """Return the training step in the fields of a file.

    Arguments:
        path: The file, for messages.
        fields: Its fields.
    Returns:
        Number of optimizer steps.
    Raises:
        InputError: If there is no step, or it is not a whole number.
    """
    step = fields.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise InputError(f"{path}: its step is {step!r}; expected a whole number. {REMEDY}")
    return step


def check_recipe(path: Path, fields: Mapping[str, Any], recipe: Recipe) -> None:
    """Check that weights belong to a run. Files of earlier versions record less of their run, or nothing, and pass.

    Arguments:
        path: File of the weights, for messages.
        fields: Its fields.
        recipe: Recipe of the run.
    Raises:
        InputError: If the weights belong to another run.
    """
    if fields.get("recipe", recipe.digest) != recipe.digest:
        raise InputError(
            f"{path} does not belong to the {CONFIG} of its run: these weights were trained with another process, "
            f"network, condition or units. {REMEDY}"
        )
    if recipe.identity and fields.get("run", recipe.identity) != recipe.identity:
        raise InputError(
            f"{path} does not belong to the {CONFIG} of its run: these weights were trained on other data, or with "
            f"another seed or other options. {REMEDY}"
        )


def untie(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network, in which a tensor with several names is listed under its first name only.

    Arguments:
        network: Network, possibly with tied weights.
    Returns:
        Tensors by name.
    """
    later = _first_names(network)
    return {name: tensor for name, tensor in network.state_dict().items() if name not in later}


def load_tied(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a state returned by `untie` into a network. A tied tensor is loaded under all of its names.

    Arguments:
        network: Network whose weights are replaced.
        tensors: Tensors by name.
    Raises:
        RuntimeError: If names or shapes do not fit the network.
    """
    tied = {name: tensors[first] for name, first in _first_names(network).items() if first in tensors}
    network.load_state_dict(dict(tensors) | tied)


def _first_names(network: nn.Module) -> dict[str, str]:
    """Map every further name of a tensor to its first name. Names that refer to the same memory are one tensor."""
    first_names: dict[object, str] = {}
    later = {}
    for name, tensor in network.state_dict().items():
        view = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        first = first_names.setdefault(view, name) if tensor.numel() else name  # empty tensors have no memory
        if first != name:
            later[name] = first
    return later


def _altered(path: Path, expected: object, actual: str) -> str:
    return f"{path} was altered: its checksum is {actual[:16]}, recorded is {str(expected)[:16]}. {REMEDY}"


def _json_digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _tensor_digest(tensors: Mapping[str, Tensor], record: str) -> str:
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
