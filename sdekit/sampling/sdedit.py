"""SDEdit: noise what is given to some level, and denoise it again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, TruncatedSDE, as_time

from .noise import SeedNoise
from .sampler import Sampler
from .sampling_loop import Samples, sample


def time_of_strength(sde: SDE, strength: float, data_std: float = 1.0) -> Tensor:
    """The time where `strength` of the angle from data to noise is done: rho = data_std tan(strength pi / 2).

    The same strength means as much noise on every process: at 0.5 the signal is as strong as the noise. strength:
    above 0, at most 1, which is t_max. data_std: of the data, > 0. Raises InputError outside of these.
    """
    if not 0 < strength <= 1 or not data_std > 0:
        raise InputError(f"edit: strength must be above 0 and at most 1, got {strength}")
    rho = as_time(math.inf if strength == 1 else data_std * math.tan(strength * math.pi / 2))
    return sde.time(rho).clamp(sde.t_min, sde.t_max)


def add_noise(
    sde: SDE, image: Tensor, t: Tensor | float, seeds: Sequence[int], *, device: torch.device | str = "cpu"
) -> tuple[TruncatedSDE, Tensor]:
    """The process up to t, and alpha_t image + sigma_t z for each seed, (n, *shape), to start from there."""
    start = TruncatedSDE(sde, float(t))
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
    """Samples near an image (*shape), one for each seed: alpha_t x + sigma_t z, and down from there.

    The larger t, the less is left of the image. arguments: as for `sdekit.sample`. Raises InputError where t is not
    above t_min. Source: Meng et al. 2022 (SDEdit).
    """
    start, x = add_noise(sde, image, t, seeds, device=device)
    return sample(start, denoise, sampler, shape=image.shape, seeds=seeds, x=x, device=device, **arguments)
