"""SDEdit: add noise to an image up to a chosen level, and denoise it again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdekit.arguments import check_device, check_number, check_tensor
from sdekit.processes import SDE, Denoiser, TruncatedSDE, as_time, check_process

from .noise import SeedNoise, check_seeds
from .sampler import Sampler
from .samples import Samples
from .sampling_loop import sample


def time_of_strength(sde: SDE, strength: float, data_std: float = 1.0) -> Tensor:
    """Return the time at which rho = data_std tan(strength pi / 2).

    strength is the fraction of the angle from data (0) to noise (pi / 2). The same strength means the same noise level
    on every process; at 0.5 the signal is as strong as the noise.

    Arguments:
        sde: Process.
        strength: Strength, above 0 and at most 1; 1 means t_max.
        data_std: Standard deviation of the data in the model's units, > 0.
    Returns:
        Time, 0-dim float64.
    Raises:
        InputError: If strength or data_std is out of range.
    """
    check_process("edit", sde)
    strength = check_number("edit: strength", strength, above=0, most=1)
    data_std = check_number("edit: data_std", data_std, above=0)
    rho = as_time(math.inf if strength == 1 else data_std * math.tan(strength * math.pi / 2))
    return sde.time(rho).clamp(sde.t_min, sde.t_max)


def add_noise(
    sde: SDE, image: Tensor, t: Tensor | float, seeds: Sequence[int], *, device: torch.device | str = "cpu"
) -> tuple[TruncatedSDE, Tensor]:
    """Add noise to an image up to time t, once for each seed: alpha_t x + sigma_t z.

    Arguments:
        sde: Process.
        image: Image x, (*shape).
        t: Time up to which noise is added, above t_min.
        seeds: Seeds of the noise z.
        device: Device of the result.
    Returns:
        The process with t_max = t, and the noisy images (n, *shape).
    """
    start, seeds, device = TruncatedSDE(sde, t), check_seeds(seeds), check_device("edit", device)
    check_tensor("edit: image", image)
    noise = SeedNoise(seeds, image.shape, device=device)
    x = image.to(device, torch.float32).expand(len(seeds), *image.shape)
    return start, sde.perturb(x, as_time(start.t_max), noise())


def edit(
    sde: SDE,
    denoise: Denoiser,
    image: Tensor,
    t: Tensor,
    *,
    sampler: Sampler | str = "ddim",
    seeds: Sequence[int] = (0,),
    device: torch.device | str = "cpu",
    **arguments: Any,
) -> Samples:
    """Draw samples near an image: add noise up to time t, and sample from there.

    The larger t is, the less the samples resemble the image.

    Arguments:
        sde: Process of the model.
        denoise: Denoiser.
        image: Image, (*shape), in the model's units.
        t: Time from which to sample, above t_min.
        sampler: Sampler, or its registered name.
        seeds: One seed per sample.
        device: Device of the samples.
        arguments: Further arguments of `sample`.
    Returns:
        Samples, one per seed.
    Raises:
        InputError: If t is not above t_min, or an argument of `sample` is invalid.
    Source:
        Meng et al. 2022 (SDEdit).
    """
    seeds = check_seeds(seeds)
    start, x = add_noise(sde, image, t, seeds, device=device)
    return sample(start, denoise, sampler, shape=image.shape, seeds=seeds, x=x, device=device, **arguments)
