"""Noise levels and noise of a training step, as functions of (seed, step)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sdekit.processes import LARGEST_RHO, SDE, as_time
from sdekit.runs import TrainOptions

from .step_seeds import seed_from

BLOCK = 64  # number of rows that share one seed of the noise


class Draw(NamedTuple):
    """Times t (B,), in float64, and standard normal noise eps (B, *shape), in float32."""

    t: Tensor
    eps: Tensor


def draw(sde: SDE, options: TrainOptions, shape: tuple[int, ...], step: int, rows: slice = slice(None)) -> Draw:
    """Draw the times and the noise of a step on the CPU, as functions of (seed, step, row of the global batch).

    The noise levels of a batch are stratified: each of batch_size intervals of equal probability contains one, in
    random order, which lowers the variance of the loss. The noise is drawn in blocks of 64 rows, so that a process
    draws little more than its own rows.

    Arguments:
        sde: Process.
        options: Training options.
        shape: Shape of one sample.
        step: Number of the step, from 0.
        rows: Rows of the global batch.
    Returns:
        Times and noise of the rows.
    Source:
        Kingma et al. 2021, appendix I.1.
    """
    generator = torch.Generator().manual_seed(seed_from(options.seed, 1, step))
    n = options.batch_size
    u = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
    first, stop, _ = rows.indices(n)
    blocks = []
    for block in range(first // BLOCK, -(-stop // BLOCK)):
        if block:
            generator = torch.Generator().manual_seed(seed_from(options.seed, 1, step, block))
        blocks.append(torch.randn(min(BLOCK, n - block * BLOCK), *shape, generator=generator))
    eps = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
    start = first - first // BLOCK * BLOCK
    return Draw(times(sde, options, u[rows]), eps[start : start + stop - first])


def times(sde: SDE, options: TrainOptions, u: Tensor) -> Tensor:
    """Map uniform numbers to times, by the inverse distribution function of the noise levels.

    With "log-normal", a fraction 1 - `noise_top` of the noise levels has log rho ~ N(noise_mean, noise_std^2). For the
    remaining fraction, rho is log-uniform between exp(noise_mean) and its value at t_max. Sampling starts at t_max,
    and a log-normal distribution alone would almost never train the network there.

    Arguments:
        sde: Process.
        options: Training options.
        u: Numbers (B,) in (0, 1).
    Returns:
        Times (B,) in [t_min, t_max].
    Source:
        Karras et al. 2022, Table 1, for the log-normal distribution.
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
