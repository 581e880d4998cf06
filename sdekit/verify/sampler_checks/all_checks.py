"""All checks of a sampler."""

from __future__ import annotations

from sdekit.sampling import Sampler
from sdekit.verify.common.check_results import Check
from sdekit.verify.common.problems import trial_processes

from . import accuracy, contract, randomness, single_steps


def checks(sampler: Sampler, *, quick: bool = False) -> list[Check]:
    """Return all checks of one sampler object. The accuracy checks are slow and come last.

    Arguments:
        sampler: Sampler.
        quick: Measure on fewer processes and step counts.
    """
    return [
        *contract.checks(sampler, quick=quick),
        *randomness.checks(sampler, trial_processes(quick=True)["rectified-flow"]),
        *single_steps.checks(sampler, quick=quick),
        *accuracy.checks(sampler, quick=quick),
    ]
