"""A process in one file: `sdekit train --sde acme-quarter-turn --plugin acme_process.py --out RUN`."""

import math
from dataclasses import dataclass

import torch

from sdekit import SDE, hookimpl
from sdekit.processes import as_time


@dataclass(frozen=True, kw_only=True)
class QuarterTurn(SDE):
    """Variance-preserving process with alpha = cos(pi t / 2) and sigma = sin(pi t / 2).

    Arguments:
        t_min: Smallest time in use, above 0.
        t_max: Largest time in use, at most 1.
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
