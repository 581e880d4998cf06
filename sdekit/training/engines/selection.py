"""The engine of a process."""

from __future__ import annotations

import os

import torch

from .engine import Engine


def default_engine(device: torch.device, precision: str) -> Engine:
    """Return the engine of this process: DDP if several processes train together.

    Arguments:
        device: Device of this process.
        precision: "fp32" or "bf16".
    Returns:
        A new engine.
    """
    if "WORLD_SIZE" in os.environ and torch.distributed.is_initialized():
        from .ddp import DDP

        return DDP(device, precision)
    from .single_process import SingleProcess

    return SingleProcess(device, precision)
