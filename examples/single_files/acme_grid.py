"""A grid in one file: `sdekit sample RUN --grid acme-power --plugin acme_grid.py --out DIR`."""

import torch

from sdekit import hookimpl


def power_grid(sde, n, *, power: float = 2.0):
    """n steps whose distance to t_min falls as (1 - i / n)^power."""
    share = torch.linspace(1, 0, n + 1, dtype=torch.float64) ** power
    times = sde.t_min + (sde.t_max - sde.t_min) * share
    times[0], times[-1] = sde.t_max, sde.t_min  # exactly
    return times


@hookimpl
def sdekit_grids():
    return {"acme-power": power_grid}
