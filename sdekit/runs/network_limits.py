"""Building of networks from options that may come from an untrusted source, with bounded memory and time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules import module as modules

from sdekit.errors import InputError

MOST_PARAMETERS = 2**38
"""Largest number of weights of any network, 1 TiB in float32."""
MOST_MODULES = 100_000
"""Largest number of modules and of weight tensors of any network."""
SMALL = 10**6
"""Number of weights that may always be allocated."""
T = TypeVar("T")


def build_bounded(build: Callable[[], T], most: int = MOST_PARAMETERS) -> T:
    """Build a network, unless its options describe more weights than expected.

    The network is first built on the device "meta", which allocates no memory, and the construction ends as soon as
    a limit is exceeded.

    Arguments:
        build: Function that builds the network.
        most: Largest number of weights.
    Returns:
        The network.
    Raises:
        InputError: If the network would have more weights, or too many modules.
    """
    try:
        with torch.device("meta"), _limited(most):
            build()
    except InputError:
        raise
    except Exception:  # a network that cannot be built on this device; other errors occur below once more
        pass
    with _limited(most):
        return build()


def build_recorded(where: Path, part: str, build: Callable[[], T]) -> T:
    """Build a component from the options in a record, which may be of any kind.

    Arguments:
        where: File of the record, for the message.
        part: Name of the component, for the message.
        build: Function that builds the component.
    Returns:
        The component.
    Raises:
        InputError: If the component cannot be built.
    """
    try:
        return build()
    except (Exception, RecursionError) as error:  # a component may raise any error for options of a wrong kind
        reason = str(error)[:300] or type(error).__name__
        raise InputError(f"{where}: its {part} cannot be built from its options ({reason})") from error


@contextmanager
def _limited(most: int) -> Iterator[None]:
    """Context in which a module that exceeds a limit raises InputError."""
    weights, count, parts = set[int](), 0, 0

    def register(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        nonlocal count
        if weight is None or id(weight) in weights:  # tied weights are registered several times
            return
        weights.add(id(weight))
        count += weight.numel()
        if count > most or len(weights) > MOST_MODULES:
            limit = f"{most:,} weights" if count > most else f"{MOST_MODULES:,} weight tensors"
            raise InputError(f"the network would have more than {limit}")

    def register_part(module: nn.Module, name: str, part: nn.Module | None) -> None:
        nonlocal parts
        parts += 1
        if parts > MOST_MODULES:
            raise InputError(f"the network would have more than {MOST_MODULES:,} modules")

    handles = [
        modules.register_module_parameter_registration_hook(register),
        modules.register_module_module_registration_hook(register_part),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
