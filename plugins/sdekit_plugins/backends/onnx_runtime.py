"""Backend that runs the network by ONNX Runtime."""

import torch
from torch import nn

from sdekit.backends import PreparedNetwork
from sdekit.export import CachedExport


def onnx(network: nn.Module) -> PreparedNetwork:
    """An ONNX graph, run by ONNX Runtime: `pip install 'sdekit[onnx]'`, and onnxruntime-gpu for a GPU.

    Graphs are stored in ~/.cache/sdekit/export under a checksum of weights and code. The network gives no gradients and
    runs in float32 only. On a GPU every call copies x to the CPU and back.

    Arguments:
        network: Network to run.
    Returns:
        The prepared network.
    Raises:
        InputError: If a package is missing.
    """
    call = CachedExport(network, "onnx", user="backend 'onnx'")
    return PreparedNetwork(call=call, dtype=torch.float32, differentiable=False)
