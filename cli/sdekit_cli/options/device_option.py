"""Where a command computes."""

from sdekit.distributed import world
from sdekit.errors import InputError


def pick_device(name: str) -> str:
    """The device that "auto" means here; InputError where the one asked for is missing."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        here = world()  # of several processes each takes a GPU of its own
        return f"cuda:{here.local % torch.cuda.device_count()}" if name == "cuda" and here.size > 1 else name
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError):
        found = f"this machine has {', '.join(_devices())} (auto takes the best)"
        raise InputError(f"--device {name} cannot be used here: {found}") from None
    return name


def _devices() -> list[str]:
    """Those of this machine, as --device takes them."""
    import torch

    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
