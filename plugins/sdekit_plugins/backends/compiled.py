"""Backend that compiles the network by torch.compile."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork, cache_folder
from sdekit.models import Condition, condition_parts

Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
COMPILERS = ("g++", "clang++", "cl")


def compiled(network: nn.Module, *, mode: Mode = "default", dynamic: bool = True) -> PreparedNetwork:
    """Kernels compiled for this network by TorchInductor, about a minute the first time, then cached.

    The cache is ~/.cache/sdekit/inductor, or the value of TORCHINDUCTOR_CACHE_DIR. Gradients are compiled if they are
    needed. On the CPU this needs a C++ compiler.

    Arguments:
        network: Network to compile.
        mode: Mode of torch.compile.
        dynamic: Whether to compile once for all batch sizes above 1 (and once for size 1) instead of once for each
            size.
    Returns:
        The prepared network.
    """
    _check_compiler(network)
    _keep_kernels()
    ready = torch.compile(network, mode=None if mode == "default" else mode)
    replayed = mode in (
        "reduce-overhead",
        "max-autotune",
    )  # CUDA graphs write every result to the same memory

    def run(x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        for tensor in (x, c_noise, *condition_parts(y).values()):
            if dynamic and len(tensor) > 1:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        result: Tensor = ready(x, c_noise, y)
        return result.clone() if replayed and x.device.type == "cuda" else result

    return PreparedNetwork(call=run)


def _check_compiler(network: nn.Module) -> None:
    """Raise an error that names the package to install; the error of Inductor only names the programs that it tried."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
    compiler = os.environ.get("CXX")
    if on_cpu and not any(map(shutil.which, (compiler,) if compiler else COMPILERS)):
        raise FileNotFoundError(
            f"no C++ compiler ({compiler or ', '.join(COMPILERS)}) was found: install one, on Debian and Ubuntu by "
            "apt install g++"
        )


def _keep_kernels() -> None:
    """Store compiled kernels in the user's cache, not in torch's default, a temporary folder that a restart clears."""
    folder = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir() + "/torchinductor_"))
    if folder.parent == Path(tempfile.gettempdir()) and folder.name.startswith("torchinductor_"):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_folder("inductor"))
