"""Seeds of a training step, as functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_from(*numbers: int) -> int:
    """Derive a seed from a key of several numbers.

    Equal keys give equal seeds, and different keys give unrelated ones, with one exception: appending zeros to a
    key does not change its seed. torch's CPU generator uses 32 bits of a seed, so that among about 65,000 steps two may
    draw the same noise, which is harmless.

    Arguments:
        numbers: Integers in [0, 2^32).
    Returns:
        A seed in [0, 2^63).
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Context manager that seeds the global generators, from which dropout draws, and restores them at its end.

    Arguments:
        seed: Seed for the generators of the CPU and of the device.
        device: Device of the computation.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        # torch.manual_seed is slower, and on the CPU it would also seed the generators of all GPUs.
        (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)
        yield
