"""ONNX Runtime in place of torch."""

import torch
from torch import nn

from sdekit.backends import PreparedNetwork
from sdekit.export import Cached


def onnx(network: nn.Module) -> PreparedNetwork:
    """The network as an ONNX graph, run by ONNX Runtime: `pip install 'sdekit[onnx]'`; for a GPU onnxruntime-gpu.

    Graphs lie in ~/.cache/sdekit/export, named by a checksum of weights and code. No gradients. float32. On a GPU
    every call copies x to the CPU and back. Raises InputError where a package is missing.
    """
    return PreparedNetwork(
        call=Cached(network, "onnx", who="backend 'onnx'"), dtype=torch.float32, differentiable=False
    )
