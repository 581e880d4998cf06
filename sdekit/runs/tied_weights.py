"""Tensors that a network holds under several names: saved once, and loaded under each of them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def untie(network: nn.Module) -> dict[str, Tensor]:
    """The network's state with every tensor under the first of its names only."""
    later = _first_names(network)
    return {name: tensor for name, tensor in network.state_dict().items() if name not in later}


def load_tied(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put in what `unshared` gave. Raises RuntimeError for tensors of another network."""
    again = {name: tensors[first] for name, first in _first_names(network).items() if first in tensors}
    network.load_state_dict(dict(tensors) | again)


def _first_names(network: nn.Module) -> dict[str, str]:
    """Of each further name of a tensor, the first: the same place in memory, looked at in the same way."""
    found: dict[object, str] = {}
    later = {}
    for name, tensor in network.state_dict().items():
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        first = found.setdefault(place, name) if tensor.numel() else name  # what is empty lies nowhere
        if first != name:
            later[name] = first
    return later
