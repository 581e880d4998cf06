"""The checks of a sampler."""

from __future__ import annotations

from sdekit.sampling import Sampler
from sdekit.verify.common.problems import processes
from sdekit.verify.common.report import Check

from . import accuracy, contract as manners, randomness, single_steps as steps


def checks(sampler: Sampler, *, quick: bool = False) -> list[Check]:
    """All checks of one sampler object; the slow ones, of its accuracy, last."""
    return [
        *manners.checks(sampler, quick=quick),
        *randomness.checks(sampler, processes(quick=True)["rectified-flow"]),
        *steps.checks(sampler, quick=quick),
        *accuracy.checks(sampler, quick=quick),
    ]
