"""A device without float64, such as Apple's MPS, simulated on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
"""Device that the simulated tensors report. It needs no hardware."""


class OnDevice(Tensor):
    """Tensor that reports `DEVICE` and computes with a tensor on the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        if inner.dtype in (torch.float64, torch.complex128):
            raise TypeError("this device does not support float64")
        made: OnDevice = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), dtype=inner.dtype, device=DEVICE, requires_grad=False
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


def computed(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute an operation on the CPU, and return its results on the device of the arguments."""
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    device = kwargs.get("device")
    target = torch.device(device) if device is not None else None
    ours = any(isinstance(x, OnDevice) for x in tensors)
    name = str(function)
    if ours and name.startswith("aten._to_copy") and kwargs.get("dtype") == torch.float64:
        raise TypeError("this device does not support float64: copy to the CPU first")
    if ours and not name.startswith(("aten._to_copy", "aten.copy_", "aten.index", "aten.lift")):
        for x in tensors:
            if not isinstance(x, OnDevice) and x.ndim:
                raise RuntimeError(f"{name}: tensors on the CPU and on the device")
    on_device = target == DEVICE if target is not None else ours
    if name.startswith("aten.copy_"):
        on_device = isinstance(args[0], OnDevice)
    kwargs = {k: torch.device("cpu") if k == "device" and v is not None else v for k, v in kwargs.items()}
    plain = tree_map(lambda x: x.inner if isinstance(x, OnDevice) else x, (args, kwargs))
    result = function(*plain[0], **plain[1])
    for x in tensors:  # operations in place return their argument
        if isinstance(x, OnDevice) and isinstance(result, Tensor) and result is x.inner:
            return x
    return tree_map(lambda x: OnDevice(x) if isinstance(x, Tensor) and on_device else x, result)


class _Factories(TorchDispatchMode):
    """Mode in which tensors that are created on, or copied to, the device are of the type `OnDevice`."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


@contextmanager
def single_precision_device() -> Iterator[torch.device]:
    """Context manager in which the device can be used."""
    with _Factories():
        yield DEVICE
