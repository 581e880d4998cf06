"""Random numbers of a training step, as functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from sdekit.models import drop_conditions
from sdekit.runs import TrainOptions


def seed_from(*numbers: int) -> int:
    """A seed from several numbers below 2^32: of as many numbers, equal for equal ones and unrelated otherwise.

    A key of fewer numbers is that of the same and zeros. torch's CPU generator keeps 32 bits of it, so that of some
    65,000 steps two may see the same noise: harmless.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Within it the global generators, which dropout draws from, start at the seed; after it they go on as before.

    Those of the CPU and of the device in use.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        # torch's own function takes longer, and on the CPU would seed the generators of all GPUs too
        (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)
        yield


def dropped_conditions(y: Tensor, options: TrainOptions, step: int) -> Tensor:
    """The conditions (B, ...) of a step with some of them dropped: null with probability `options.drop`, on the CPU."""
    if not options.drop:
        return y
    return drop_conditions(y, options.drop, torch.Generator().manual_seed(seed_from(options.seed, 4, step)))
