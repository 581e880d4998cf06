"""Half the bits: matrix products and convolutions in bfloat16 or float16, all else in float32."""

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork


def bf16(network: nn.Module) -> PreparedNetwork:
    """Autocast to bfloat16, which keeps float32's range and 8 bits; for GPUs from Ampere on and CPUs with AMX."""
    return _autocast(network, torch.bfloat16)


def fp16(network: nn.Module) -> PreparedNetwork:
    """Autocast to float16: 11 bits, but nothing above 65504, so that large activations overflow; for older GPUs."""
    return _autocast(network, torch.float16)


def _autocast(network: nn.Module, dtype: torch.dtype) -> PreparedNetwork:
    def run(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, dtype=dtype):
            result: Tensor = network(x, c_noise, y)
        return result.to(x.dtype)

    return PreparedNetwork(call=run, dtype=dtype)
