"""Backend with linear layers in 8-bit integers, on the CPU.

The layers run by FBGEMM, through torch's quantised tensors. torch 2.13 deprecates these (pytorch issue 184982), but
none of its replacements is as fast. A layer of width 512 and one of 2048, with batch 64, on one thread of a CPU with
AVX2, take 0.35 and 4.1 ms; 0.52 and 7.7 ms in float32; 0.55 and 4.9 ms by oneDNN's `qlinear_pointwise` on plain int8
tensors; 16 and 200 ms by `torch._int_mm`; 29 and 460 ms by `torch._weight_int8pack_mm`. torchao would be one more heavy
dependency.
"""

import copy
import warnings

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork
from sdekit.errors import InputError


def int8(network: nn.Module, *, least: int = 256) -> PreparedNetwork:
    """Linear layers in 8-bit integers; weights are scaled once, inputs at each call; no gradients.

    Convolutions are not changed.

    Arguments:
        network: Network on the CPU.
        least: Layers with fewer inputs or outputs than this are not quantised, because they would not become faster.
    Returns:
        The prepared network.
    Raises:
        InputError: If the network is on a GPU, or no layer is large enough.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    if device.type != "cpu":
        raise InputError(f"backend 'int8' runs on the CPU, and the model is on {device}: use backend 'bf16' or 'fp16'")
    quantised = copy.deepcopy(network)
    layers = 0
    for parent in list(quantised.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Linear) and min(layer.weight.shape) >= least:
                setattr(parent, name, _Int8(layer))
                layers += 1
    if not layers:
        raise InputError(
            f"backend 'int8' quantises linear layers of at least {least} inputs and outputs, and this network has "
            "none: use another backend, or int8:least=64"
        )
    return PreparedNetwork(
        call=quantised, dtype=torch.qint8, differentiable=False, note=f"{layers} linear layers in int8"
    )


class _Int8(nn.Module):
    """A linear layer W q(x) + b, with W in int8 and one scale for each output."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = (weight.abs().amax(1).double() / 127).clamp(min=1e-12)
        zero = torch.zeros(len(scale), dtype=torch.int64)
        with warnings.catch_warnings():  # about the deprecation
            warnings.simplefilter("ignore", UserWarning)
            rounded = torch.quantize_per_channel(weight, scale, zero, 0, torch.qint8)
        bias: Tensor | None = layer.bias
        self.packed = torch.ops.quantized.linear_prepack(rounded, None if bias is None else bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        # Inputs keep 7 of the 8 bits: without VNNI, sums of two products would overflow 16 bits.
        result: Tensor = torch.ops.quantized.linear_dynamic(x.float(), self.packed, True)
        return result.to(x.dtype)
