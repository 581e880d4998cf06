"""Build a module without memory for its weights, and fill it from safetensors files, tensor by tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sdekit.errors import InputError

M = TypeVar("M", bound=nn.Module)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Dtypes of weights by their name on the command line."""

CHUNK = 20_000_000
"""Numbers that are read from a file before it is closed and opened again."""

RENAMED = (
    (r"\.query\.(weight|bias)$", r".to_q.\1"),
    (r"\.key\.(weight|bias)$", r".to_k.\1"),
    (r"\.value\.(weight|bias)$", r".to_v.\1"),
    (r"\.proj_attn\.(weight|bias)$", r".to_out.0.\1"),
)
"""Older names of the attention layers of autoencoders, and their present names."""


@contextmanager
def without_memory() -> Iterator[None]:
    """Context manager in which new modules have parameters of the meta device; their buffers are real."""

    def as_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None:
            return None
        return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)

    register: Any = nn.modules.module.register_module_parameter_registration_hook
    handle = register(as_meta)
    try:
        yield
    finally:
        handle.remove()


def sizes(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors in safetensors files, from their headers alone.

    Arguments:
        files: The files.
    Returns:
        Shapes by name.
    Raises:
        InputError: If a file is damaged, or two files contain a tensor of the same name.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with opened(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118  # not a dict
                if name in shapes:
                    raise InputError(f"{file}: another file contains the tensor {name!r} too")
                shapes[name] = tuple(tensors.get_slice(name).get_shape())
    return shapes


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Context manager that opens a safetensors file, and raises InputError with its path if it is damaged."""
    try:
        with safe_open(file, "pt") as tensors:
            yield tensors
    except (SafetensorError, OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is damaged ({error}): download it again") from error


def check_names(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], source: str | Path
) -> None:
    """Check that weights fit a module: no tensor is missing, extra, or of another shape.

    Arguments:
        expected: Shapes by name that the module has.
        found: Shapes by name in the files.
        source: File or folder, for the message.
    Raises:
        InputError: If they differ. The message names up to three tensors of each kind.
    """
    faults = []
    for kind, names in (("missing", expected.keys() - found.keys()), ("extra", found.keys() - expected.keys())):
        if names:
            faults.append(f"{len(names)} {kind} ({_list(sorted(names))})")
    differ = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    if differ:
        words = [f"{name} {_shape(found[name])}, not {_shape(expected[name])}" for name in differ[:3]]
        faults.append(f"{len(differ)} of another shape ({'; '.join(words)})")
    if faults:
        raise InputError(f"{source} does not fit its configuration: of its tensors, {', '.join(faults)}")


def load_weights(
    module: nn.Module, files: Sequence[Path], *, dtype: torch.dtype | None, rename: Callable[[str], str] | None = None
) -> None:
    """Fill a module of the meta device with the tensors of safetensors files.

    The tensors are mapped from the files, or converted one by one, so that memory of about their size suffices.

    Arguments:
        module: Module whose parameters are of the meta device.
        files: The files.
        dtype: Dtype of the floating-point weights; None keeps the dtype of the files.
        rename: Function from a name in the files to the name in the module.
    Raises:
        InputError: If a tensor is missing, extra, or of another shape.
    """
    rename = rename or _present_name(module)
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    ignored = [re.compile(pattern) for pattern in getattr(module, "_keys_to_ignore_on_load_unexpected", None) or ()]
    found = {rename(name): shape for name, shape in sizes(files).items()}
    found = {n: s for n, s in found.items() if n in expected or not any(p.search(n) for p in ignored)}
    check_names(expected, found, files[0] if len(files) == 1 else files[0].parent)
    for file in files:
        for names in _chunks(sizes([file])):
            with opened(file) as tensors:
                for name in names:
                    if rename(name) in expected:
                        _assign(module, rename(name), _converted(tensors.get_tensor(name), dtype))


def build_module(make: Callable[[], M], files: Sequence[Path], *, dtype: torch.dtype | None, source: str | Path) -> M:
    """Build a module and load its weights.

    Arguments:
        make: Function that builds the module, with random weights.
        files: Its weights.
        dtype: Dtype of the weights; None keeps the dtype of the files.
        source: The configuration, for messages.
    Returns:
        The module in evaluation mode, without gradients.
    Raises:
        InputError: If the configuration is not valid, or the weights do not fit.
    """
    try:
        with without_memory():
            module = make()
    except InputError:
        raise
    except Exception as error:  # constructors of other libraries raise many types
        raise InputError(f"{source} does not describe a network ({type(error).__name__}: {error})") from error
    load_weights(module, files, dtype=dtype)
    return module.eval().requires_grad_(False)


def _chunks(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[list[str]]:
    """Yield the names of tensors in groups of about `CHUNK` numbers.

    A file is opened once for each group, because the pages of all tensors that were read stay in memory until it is
    closed, even if the tensors were converted.
    """
    names, count = list[str](), 0
    for name, shape in shapes.items():
        names, count = [*names, name], count + math.prod(shape)
        if count > CHUNK:
            yield names
            names, count = [], 0
    yield names


def _present_name(module: nn.Module) -> Callable[[str], str]:
    """Return a function that replaces older names of attention layers, where the module has the present ones."""
    names = set(module.state_dict())

    def present(name: str) -> str:
        for pattern, replacement in RENAMED:
            if name not in names and (newer := re.sub(pattern, replacement, name)) in names:
                return newer
        return name

    return present


def _converted(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def _assign(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Replace a parameter or a buffer by a tensor."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    if leaf in owner._buffers:
        owner._buffers[leaf] = tensor
    else:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a number"
