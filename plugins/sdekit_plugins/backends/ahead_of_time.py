"""Backend that compiles the network ahead of time by AOTInductor, and reuses the package in later runs."""

import torch
from torch import nn

from sdekit.backends import PreparedNetwork
from sdekit.export import CachedExport


def export(network: nn.Module) -> PreparedNetwork:
    """Native code by torch.export and AOTInductor, compiled once in about a minute, then cached.

    Packages are stored in ~/.cache/sdekit/export under a checksum of weights, code, torch version and machine. They
    contain native code, so they are not stored in the run folder, which must be safe to open even if it comes from
    someone else; `sdekit export RUN --format aoti` writes a package to pass on. The network gives no gradients and runs
    in float32 only. The first run needs a C++ compiler.

    Arguments:
        network: Network to compile.
    Returns:
        The prepared network.
    """
    call = CachedExport(network, "aoti", user="backend 'export'")
    return PreparedNetwork(call=call, dtype=torch.float32, differentiable=False)
