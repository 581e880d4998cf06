"""Noise levels and noise of a training step, as functions of (seed, step)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sdekit.processes import LARGEST_RHO, SDE, as_time
from sdekit.runs import TrainOptions

from .randomness import seed_from


class Draw(NamedTuple):
    """t: (B,) float64 times. eps: (B, *shape) float32 standard normal."""

    t: Tensor
    eps: Tensor


def draw(sde: SDE, options: TrainOptions, shape: tuple[int, ...], step: int) -> Draw:
    """Times and noise of a step, on the CPU, whatever came before: this is what makes a resumed run the same run.

    The levels of a batch are stratified: one in each of batch_size equal parts of probability, in random order
    (Kingma et al. 2021, appendix I.1), which lowers the variance of the loss.
    """
    generator = torch.Generator().manual_seed(seed_from(options.seed, 1, step))
    n = options.batch_size
    u = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
    return Draw(times(sde, options, u), torch.randn(n, *shape, generator=generator))


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
