"""A process in one file: `sdekit train --sde acme-quarter-turn --plugin acme_process.py --out RUN`."""

import math
from dataclasses import dataclass

import torch

from sdekit import SDE, hookimpl
from sdekit.processes import as_time


@dataclass(frozen=True, kw_only=True)
class QuarterTurn(SDE):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2), so that alpha^2 + sigma^2 = 1.

    t_min, t_max: the times in use, within [0, 1].
    """

    t_min: float = 1e-3
    t_max: float = 1.0

    def alpha(self, t):
        return (as_time(t) * math.pi / 2).cos()

    def sigma(self, t):
        return (as_time(t) * math.pi / 2).sin()

    def time(self, rho):
        return torch.atan(as_time(rho)) * 2 / math.pi


@hookimpl
def sdekit_sdes():
    return {"acme-quarter-turn": QuarterTurn}
