"""Time grids: where a sampler evaluates. `grid(sde, n) -> (n + 1,)` decreasing, float64, on the CPU.

Every grid starts at t_max and ends at t_min; options are keyword-only. Spaced in rho = sigma / alpha, they serve any
process; where rho is infinite at t_max the spacing starts from a large finite value.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .line import LARGEST_RHO
from .sde import SDE, as_time


def uniform(sde: SDE, n: int) -> Tensor:
    """Equal steps in t: t_i = t_max + i/n (t_min - t_max), as in Song et al. 2021."""
    return torch.linspace(sde.t_max, sde.t_min, n + 1, dtype=torch.float64)


def karras(sde: SDE, n: int, *, p: float = 7.0) -> Tensor:
    """Equal steps in rho^(1/p) (Karras et al. 2022, eq. 5): a larger p puts more of them at low noise."""
    high, low = _ends(sde)
    return _times(sde, torch.linspace(high ** (1 / p), low ** (1 / p), n + 1, dtype=torch.float64) ** p)


def log_snr(sde: SDE, n: int) -> Tensor:
    """Equal steps in the log-SNR -2 log rho, as for exponential integrators (Lu et al. 2022)."""
    high, low = _ends(sde)
    return _times(sde, torch.linspace(high.log(), low.log(), n + 1, dtype=torch.float64).exp())


def _ends(sde: SDE) -> tuple[Tensor, Tensor]:
    """rho at both ends, the upper one made finite and the lower one positive."""
    high, low = sde.rho(as_time(sde.t_max)), sde.rho(as_time(sde.t_min))
    return high.clamp(max=LARGEST_RHO), low.clamp(min=1e-6)


def _times(sde: SDE, rho: Tensor) -> Tensor:
    times = sde.time(rho)
    times[0] = sde.t_max
    if len(times) > 1:
        times[-1] = sde.t_min
    return times
