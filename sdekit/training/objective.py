"""What one training step sees: noise levels and noise as pure functions of (seed, step)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdekit.conditions import dropped
from sdekit.line import LARGEST_RHO
from sdekit.sde import SDE, as_time

from .options import TrainOptions


class Draw(NamedTuple):
    """t: (B,) float64 times. eps: (B, *shape) float32 standard normal."""

    t: Tensor
    eps: Tensor


def key(*numbers: int) -> int:
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


def draw(sde: SDE, options: TrainOptions, shape: tuple[int, ...], step: int) -> Draw:
    """Times and noise of a step, on the CPU, whatever came before: this is what makes a resumed run the same run.

    The levels of a batch are stratified: one in each of batch_size equal parts of probability, in random order
    (Kingma et al. 2021, appendix I.1), which lowers the variance of the loss.
    """
    generator = torch.Generator().manual_seed(key(options.seed, 1, step))
    n = options.batch_size
    u = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
    return Draw(times(sde, options, u), torch.randn(n, *shape, generator=generator))


def told(y: Tensor, options: TrainOptions, step: int) -> Tensor:
    """The conditions (B, ...) of a step with some of them dropped: null with probability `options.drop`, on the CPU."""
    if not options.drop:
        return y
    return dropped(y, options.drop, torch.Generator().manual_seed(key(options.seed, 4, step)))


def times(sde: SDE, options: TrainOptions, u: Tensor) -> Tensor:
    """Times whose distribution function is u, (B,) in (0, 1), within the process: see `TrainOptions.noise`.

    The part `noise_top`, above the rest: log-uniform in rho from exp(noise_mean) up. Sampling starts there, a
    log-normal all but never comes there, and what a network does not know at the start moves all that follows.
    """
    if options.noise == "uniform":
        return sde.t_min + u * (sde.t_max - sde.t_min)
    low, high = (float(sde.rho(as_time(t)).clamp(max=LARGEST_RHO)) for t in (sde.t_min, sde.t_max))
    rest = 1 - options.noise_top
    log_rho = options.noise_mean + options.noise_std * torch.special.ndtri((u / rest).clamp(max=1))
    if options.noise_top:
        span = math.log(high) - options.noise_mean
        log_rho = torch.where(u > rest, options.noise_mean + span * (u - rest) / options.noise_top, log_rho)
    return sde.time(log_rho.exp().clamp(low, high)).clamp(sde.t_min, sde.t_max)
