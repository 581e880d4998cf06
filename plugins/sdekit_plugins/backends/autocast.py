"""Backends with matrix products and convolutions in bfloat16 or float16, and the rest in float32."""

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork


def bf16(network: nn.Module) -> PreparedNetwork:
    """Autocast to bfloat16 (range of float32, 8-bit precision), for GPUs since Ampere and AMX CPUs.

    Arguments:
        network: Network to run.
    Returns:
        The prepared network.
    """
    return _autocast(network, torch.bfloat16)


def fp16(network: nn.Module) -> PreparedNetwork:
    """Autocast to float16, for older GPUs. Activations above 65504 overflow.

    Arguments:
        network: Network to run.
    Returns:
        The prepared network.
    """
    return _autocast(network, torch.float16)


def _autocast(network: nn.Module, dtype: torch.dtype) -> PreparedNetwork:
    def run(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, dtype=dtype):
            result: Tensor = network(x, c_noise, y)
        return result.to(x.dtype)

    return PreparedNetwork(call=run, dtype=dtype)
