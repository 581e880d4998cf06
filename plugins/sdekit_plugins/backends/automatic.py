"""A backend chosen by the device, among those that change nothing but rounding."""

import torch
from torch import Tensor, nn

from sdekit.backends import NetworkCall, PreparedNetwork
from sdekit.registry import build


def auto(network: nn.Module) -> PreparedNetwork:
    """On CUDA: `cuda-graph`. On the CPU: `channels-last` for images, else `eager`. Elsewhere: `eager`.

    None of these needs a compiler or a minute of waiting, nor fewer bits; those are for a person to ask for. Says what
    it picked, and why, in the record of `sdekit sample`. Where gradients are asked, the network runs eagerly.
    """
    device = next((parameter.device.type for parameter in network.parameters()), "cpu")
    convolves = any(isinstance(module, nn.Conv2d) for module in network.modules())
    if device == "cuda":
        name, why = "cuda-graph", "launching kernels one by one keeps a GPU waiting"
    elif device == "cpu" and convolves:
        name, why = "channels-last", "convolutions on a CPU are fastest so"
    else:
        name, why = "eager", f"nothing is to be gained without a compilation for {device}"
    run: NetworkCall = build("backend", name)(network)
    differentiable = getattr(run, "differentiable", True)

    def chosen(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        recording = torch.is_grad_enabled() and x.requires_grad
        result: Tensor = (run if differentiable or not recording else network)(x, c_noise, y)
        return result

    return PreparedNetwork(call=chosen, dtype=getattr(run, "dtype", None), note=f"picked {name!r}: {why}")
