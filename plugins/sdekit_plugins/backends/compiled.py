"""torch.compile: kernels written for this network, fused where they can be."""

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
    """The network through TorchInductor; the first call takes a minute for a U-Net, later runs find it in a cache.

    mode: torch.compile's own. dynamic: one compilation for every batch size from 2 (batch 1 is another), else one for
    each. The cache lies in ~/.cache/sdekit/inductor, or where TORCHINDUCTOR_CACHE_DIR says. Gradients are compiled
    where they are asked. On the CPU a C++ compiler is needed.
    """
    _check_compiler(network)
    _keep_kernels()
    ready = torch.compile(network, mode=None if mode == "default" else mode)
    replayed = mode in ("reduce-overhead", "max-autotune")  # by CUDA graphs, which write every result to one place

    def run(x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        for given in (x, c_noise, *condition_parts(y).values()):
            if dynamic and len(given) > 1:
                torch._dynamo.maybe_mark_dynamic(given, 0)
        result: Tensor = ready(x, c_noise, y)
        return result.clone() if replayed and x.device.type == "cuda" else result

    return PreparedNetwork(call=run)


def _check_compiler(network: nn.Module) -> None:
    """An error that says what to install, in place of Inductor's own, which names only what it tried."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
    asked = os.environ.get("CXX")
    if on_cpu and not any(map(shutil.which, (asked,) if asked else COMPILERS)):
        raise FileNotFoundError(
            f"no C++ compiler ({asked or ', '.join(COMPILERS)}) was found: install one, on Debian and Ubuntu with "
            "apt install g++"
        )


def _keep_kernels() -> None:
    """In the user's cache. torch's default, which it may have set itself by now, is the shared temporary folder: a
    restart clears it."""
    asked = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", tempfile.gettempdir() + "/torchinductor_"))
    if asked.parent == Path(tempfile.gettempdir()) and asked.name.startswith("torchinductor_"):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_folder("inductor"))
