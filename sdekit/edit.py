"""SDEdit: noise what is given to some level, and denoise it again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .errors import InputError
from .noise import SeedNoise
from .sampling import Sampler, Samples, sample
from .sde import SDE, Denoise, as_time


def level(sde: SDE, strength: float, data_std: float = 1.0) -> Tensor:
    """The time where `strength` of the angle from data to noise is done: rho = data_std tan(strength pi / 2).

    The same strength means as much noise on every process: at 0.5 the signal is as strong as the noise. strength:
    above 0, at most 1, which is t_max. data_std: of the data, > 0. Raises InputError outside of these.
    """
    if not 0 < strength <= 1 or not data_std > 0:
        raise InputError(f"edit: strength must be above 0 and at most 1, got {strength}")
    rho = as_time(math.inf if strength == 1 else data_std * math.tan(strength * math.pi / 2))
    return sde.time(rho).clamp(sde.t_min, sde.t_max)


def below(sde: SDE, t: Tensor, n: int, p: float = 7.0) -> Tensor:
    """n + 1 decreasing times from t to t_min, in equal steps of rho^(1/p) as in `grids.karras`; (1,) for n = 0."""
    if n == 0:
        return t[None]
    high, low = sde.rho(t).clamp(max=1e3), sde.rho(as_time(sde.t_min)).clamp(min=1e-6)
    times = sde.time(torch.linspace(float(high) ** (1 / p), float(low) ** (1 / p), n + 1, dtype=torch.float64) ** p)
    times[0], times[-1] = t, sde.t_min
    return times


def edit(
    sde: SDE,
    denoise: Denoise,
    image: Tensor,
    t: Tensor,
    *,
    sampler: Sampler | str = "ddim",
    steps: int = 30,
    seeds: Sequence[int] = (0,),
    device: torch.device | str = "cpu",
    **arguments: Any,
) -> Samples:
    """Samples near an image (*shape), one for each seed: alpha_t x + sigma_t z, and down from there in `steps` steps.

    The larger t, the less is left of the image. arguments: as for `sdekit.sample`. Raises InputError where t is not
    above t_min. Source: Meng et al. 2022, section 3.2.
    """
    t = as_time(t)
    if not sde.t_min < t <= sde.t_max:
        raise InputError(f"edit: t must be above {sde.t_min:g} and at most {sde.t_max:g}, got {float(t):g}")
    if steps < 1:
        raise InputError(f"edit: steps must be at least 1, got {steps}")
    noise = SeedNoise(seeds, image.shape, device=device)
    x = sde.perturb(image.to(device, torch.float32).expand(len(seeds), *image.shape), t, noise())
    return sample(
        sde,
        denoise,
        sampler,
        shape=tuple(image.shape),
        seeds=seeds,
        x=x,
        grid=below(sde, t, steps - 1),
        device=device,
        **arguments,
    )
