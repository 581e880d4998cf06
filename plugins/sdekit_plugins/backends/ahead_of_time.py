"""The network compiled ahead of time by AOTInductor, and loaded from a package in later runs."""

import torch
from torch import nn

from sdekit.backends import PreparedNetwork
from sdekit.export import Cached


def export(network: nn.Module) -> PreparedNetwork:
    """torch.export, then native code: the first run compiles for a minute, later ones load it in a second.

    Packages lie in ~/.cache/sdekit/export, named by a checksum of weights, code, torch version and machine. They are
    native code, so they are not kept in the run folder, which is safe to open whoever it comes from; `sdekit export
    RUN --format aoti` writes one to be passed on. No gradients. float32. A C++ compiler is needed for the first run.
    """
    return PreparedNetwork(
        call=Cached(network, "aoti", who="backend 'export'"), dtype=torch.float32, differentiable=False
    )
