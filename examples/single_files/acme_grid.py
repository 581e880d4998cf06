"""A grid in one file: `sdekit sample RUN --grid acme-power --plugin acme_grid.py --out DIR`."""

import torch

from sdekit import hookimpl


def power_grid(sde, n, *, power: float = 2.0):
    """Times whose distance from t_min is proportional to (1 - i / n)^power.

    Arguments:
        sde: Process.
        n: Number of steps.
        power: Exponent. A larger one makes the last steps shorter.
    Returns:
        Times (n + 1,) from t_max to t_min, in float64.
    """
    fractions = torch.linspace(1, 0, n + 1, dtype=torch.float64) ** power
    times = sde.t_min + (sde.t_max - sde.t_min) * fractions
    times[0], times[-1] = sde.t_max, sde.t_min  # without rounding error
    return times


@hookimpl
def sdekit_grids():
    return {"acme-power": power_grid}
