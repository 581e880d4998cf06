"""Fill a network of sdekit with the tensors of another toolkit, under a table of names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile

MOST_EXTRA = 4

Convert = Callable[[Tensor], Tensor]


class Filling:
    """Tensors of a network, collected from a file.

    Every tensor of the network must be filled, and every tensor of the file must be used, or `load` raises an error
    that names it.

    Arguments:
        network: Network on the device "meta", so that it needs no memory of its own.
        tensors: Tensors of the file by name.
        source: Path of the file, for messages.
    """

    def __init__(self, network: nn.Module, tensors: Mapping[str, TensorInFile], source: str) -> None:
        self.network, self.tensors, self.source = network, tensors, source
        self.shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        self.values: dict[str, Tensor] = {}
        self.used: set[str] = set()

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of the file in float32. Raises InputError if it is missing or of another shape or type."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise InputError(f"{self.source} lacks the tensor {name}, of shape {shape}, which this network needs")
        self.used.add(name)
        if tensor.shape != shape:
            raise InputError(
                f"{self.source}: the tensor {name} has the shape {tensor.shape}, and this network needs {shape}"
            )
        if not tensor.dtype.is_floating_point:
            raise InputError(f"{self.source}: the tensor {name} has the type {tensor.dtype}, not real numbers")
        return tensor.load().float()

    def tensor(self, target: str, name: str, convert: Convert | None = None, shape: tuple[int, ...] = ()) -> None:
        """Fill one tensor of the network.

        Arguments:
            target: Name of the tensor in the network.
            name: Name of the tensor in the file.
            convert: Function that maps the tensor of the file to that of the network.
            shape: Shape in the file, if it differs from the shape in the network.
        """
        value = self.take(name, shape or self.shapes[target])
        self.values[target] = value if convert is None else convert(value).contiguous()

    def layer(self, target: str, name: str, convert: Convert | None = None) -> None:
        """Fill the weight and the bias of a layer; `convert` acts on both.

        The weight in the file may lack the last axes of size 1 of a convolution.
        """
        for part in ("weight", "bias"):
            if f"{target}.{part}" in self.shapes:
                shape = self.shapes[f"{target}.{part}"]
                found = self.tensors.get(f"{name}.{part}")
                short = shape[:3] if len(shape) == 4 and shape[2:] == (1, 1) else shape
                if found is not None and found.shape == short != shape:
                    self.tensor(f"{target}.{part}", f"{name}.{part}", _with_pixel(convert), short)
                else:
                    self.tensor(f"{target}.{part}", f"{name}.{part}", convert)

    def load(self, ignored: Callable[[str], bool] = lambda name: False) -> nn.Module:
        """Put the tensors into the network.

        Arguments:
            ignored: Whether a tensor of the file, by its name, has no counterpart in the network.
        Returns:
            The network.
        Raises:
            InputError: If the file has further tensors, or numbers that are not finite.
        """
        if extra := [name for name in self.tensors if name not in self.used and not ignored(name)]:
            more = f" and {len(extra) - MOST_EXTRA} more" if len(extra) > MOST_EXTRA else ""
            raise InputError(
                f"{self.source} has the tensors {', '.join(extra[:MOST_EXTRA])}{more}, which this network does not have"
            )
        for name, value in self.values.items():
            if not math.isfinite(float(value.sum())):
                raise InputError(f"{self.source}: the tensor of {name} has numbers that are not finite")
        missing = self.shapes.keys() - self.values.keys()
        assert not missing, missing
        self.network.load_state_dict(self.values, assign=True)
        return self.network


def build_on_meta(build: Callable[..., nn.Module], source: str, *args: Any, **options: Any) -> nn.Module:
    """Build a network without memory for its weights.

    Arguments:
        build: Class of the network.
        source: Path of the file, for messages.
        args: Shape and number of classes.
        options: Options of the network.
    Returns:
        The network on the device "meta".
    Raises:
        InputError: If the options do not fit each other.
    """
    try:
        with torch.device("meta"):
            return build(*args, **options)
    except InputError as error:
        raise InputError(f"{source} describes a network that sdekit does not support: {error}") from error
    except (RuntimeError, OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{source} describes an impossible network: {error}") from error


def check_whole(name: str, value: Any, low: int, high: int, source: str) -> int:
    """Return a whole number from a file.

    Arguments:
        name: Name of the number.
        value: Value in the file.
        low: Least possible value.
        high: Largest possible value.
        source: Path of the file, for messages.
    Returns:
        The number.
    Raises:
        InputError: If it is out of range.
    """
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"{source}: {name} must be a whole number from {low} to {high}, got {str(value)[:40]}")
    return value


def sine_first(weight: Tensor) -> Tensor:
    """Reorder the columns of a layer for inputs [sin, cos], so that it takes [cos, sin].

    Arguments:
        weight: Weight (out, features).
    Returns:
        Weight (out, features).
    """
    sine, cosine = weight.chunk(2, 1)
    return torch.cat([cosine, sine], 1)


def heads_first(heads: int) -> Convert:
    """Return a function that reorders the rows (head, part, channel) of an attention's queries, keys and values.

    Arguments:
        heads: Number of heads.
    Returns:
        Function from rows (head, part, channel) to the order (part, head, channel) of sdekit.
    """

    def convert(rows: Tensor) -> Tensor:
        return rows.view(heads, 3, -1, *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)

    return convert


def geometric_frequencies(n: int, endpoint: bool) -> Tensor:
    """Return the frequencies 10000^(-i / n) of a positional embedding (Vaswani et al. 2017).

    Arguments:
        n: How many.
        endpoint: Whether the last frequency is 1/10000, by n - 1 in place of n.
    Returns:
        Frequencies (n,) in float32.
    """
    exponent = torch.arange(n, dtype=torch.float64) / max(1, n - endpoint)
    return (10000.0**-exponent).float()


def _with_pixel(convert: Convert | None) -> Convert:
    """Return the conversion followed by a new last axis: a convolution over a sequence becomes one over pixels."""
    return lambda value: (value if convert is None else convert(value))[..., None]
