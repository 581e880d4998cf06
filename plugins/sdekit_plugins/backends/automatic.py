"""Backend that chooses another backend for the device, among those that change only rounding errors."""

import torch
from torch import Tensor, nn

from sdekit.backends import NetworkCall, PreparedNetwork
from sdekit.registry import build


def auto(network: nn.Module) -> PreparedNetwork:
    """`cuda-graph` on CUDA, `channels-last` for images on the CPU, and `eager` otherwise.

    None of these needs a compiler or a long preparation, and none reduces the precision. The record of `sdekit sample`
    contains the choice and the reason. If gradients are needed, the network runs eagerly.

    Arguments:
        network: Network to run.
    Returns:
        The prepared network.
    """
    device = next((parameter.device.type for parameter in network.parameters()), "cpu")
    convolves = any(isinstance(module, nn.Conv2d) for module in network.modules())
    if device == "cuda":
        name, why = "cuda-graph", "launching kernels one by one keeps a GPU waiting"
    elif device == "cpu" and convolves:
        name, why = "channels-last", "convolutions on a CPU are fastest in this format"
    else:
        name, why = "eager", f"on {device} only a compiled network would be faster"
    run: NetworkCall = build("backend", name)(network)
    differentiable = getattr(run, "differentiable", True)

    def chosen(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        recording = torch.is_grad_enabled() and x.requires_grad
        result: Tensor = (run if differentiable or not recording else network)(x, c_noise, y)
        return result

    return PreparedNetwork(call=chosen, dtype=getattr(run, "dtype", None), note=f"picked {name!r}: {why}")
