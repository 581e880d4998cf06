"""A network of another package: how it is built from its name, and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.registry import build


def build_network(name: str, arguments: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build a registered network, or a class of an installed package.

    Arguments:
        name: Registered name, or "module:Class".
        arguments: Options of the network, or keyword arguments of the class.
        shape: Shape of one sample, for registered networks.
        classes: Number of labels, for registered networks.
    Returns:
        The network in evaluation mode.
    Raises:
        InputError: If the name does not exist, or the network cannot be built.
    """
    try:
        if ":" not in name:
            network: Any = build("network", name, shape, classes, **arguments)
        else:
            module, _, path = name.partition(":")
            network = attrgetter(path)(import_module(module))(**arguments)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a package may raise anything while it is imported or used
        raise InputError(
            f"network={name} with the arguments {dict(arguments)} cannot be built ({type(error).__name__}: {error}): "
            "name module:Class of an installed package, or a network of a plugin (--plugin FILE)"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(f"network={name} is not a network of torch, but a {type(network).__name__}")
    return network.eval()


class CalledNetwork(nn.Module):
    """A network of another package, called as sdekit calls networks.

    Arguments:
        network: The network, called as `network(x, c_noise)`, or `network(x, c_noise, y)` with labels.
        channels: Channels of x; more channels of the output are cut.
        classes: Number of labels, 0 for none.
        null_label: Label that replaces missing labels, or None.
    """

    def __init__(self, network: nn.Module, channels: int, classes: int, null_label: int | None) -> None:
        super().__init__()
        self.network, self.channels, self.classes, self.null_label = network, channels, classes, null_label

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Map x (B, C, *), c_noise (B,) and labels y (B,) or None to the output (B, C, *)."""
        inputs = [x, c_noise]
        if self.classes:
            null = 0 if self.null_label is None else self.null_label
            y = torch.full((len(x),), -1, device=x.device) if y is None else y
            inputs.append(torch.where(y < 0, null, y))
        result: Any = self.network(*inputs)
        result = getattr(result, "sample", result)
        output: Tensor = result[0] if isinstance(result, tuple) else result
        return output[:, : self.channels] if output.shape[1] == 2 * self.channels else output
