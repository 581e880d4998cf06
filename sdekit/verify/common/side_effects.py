"""Detection of the changes that a component makes outside itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def _global_state() -> dict[str, Any]:
    """Return the state of the global generators and the global settings, by name."""
    name, keys, *rest = np.random.get_state()
    return {
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
        "NumPy's global generator": (name, np.asarray(keys).tobytes(), *rest),
        "Python's global generator": random.getstate(),
        "torch's default dtype": torch.get_default_dtype(),
        "the gradient mode": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
    }


@contextmanager
def changed_globals(*, seed: int = 20_000) -> Iterator[list[str]]:
    """Context manager that seeds the global generators, lists which global state the block changes, and restores it.

    Arguments:
        seed: Seed of the global generators of torch, NumPy and Python during the block.
    Returns:
        List of names, which is filled at the end of the block.
    """
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    settings = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    state, changed = _global_state(), list[str]()
    try:
        yield changed
    finally:
        now = _global_state()
        changed += [name for name, value in state.items() if now[name] != value]
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
        torch.set_default_dtype(settings[0])
        torch.set_grad_enabled(settings[1])
        torch.set_num_threads(settings[2])
