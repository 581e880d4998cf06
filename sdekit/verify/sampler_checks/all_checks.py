"""All checks of a sampler, and the order of causes: a check is skipped if a failure would only repeat another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from sdekit.processes import SDE, as_time
from sdekit.sampling import Sampler
from sdekit.verify.common.check_results import Check
from sdekit.verify.common.problems import trial_processes

from . import accuracy, contract, fresh_noise, randomness, single_steps


def checks(sampler: Sampler, *, quick: bool = False) -> list[Check]:
    """Return all checks of one sampler object. The accuracy checks are slow and come last.

    Arguments:
        sampler: Sampler.
        quick: Measure on fewer processes and step counts.
    """
    trials = trial_processes(sampler, quick=quick)
    runs = _runs(sampler, trials)
    law = "one x for each step, with the dtype and shape of the first"
    forms = [
        Check(f"dtype[{name}]", law, partial(contract.dtypes, sampler, trials["vp"], dtype), (*runs.values(),)[:1])
        for name, dtype in (("float32", torch.float32), ("float64", torch.float64))
    ]
    law = "all draws come from noise(t, s)"
    generators = Check("global generators", law, partial(randomness.global_generators, sampler, trials["vp"]))

    def follow(checks: Iterable[Check], *roots: Check) -> Iterator[Check]:
        for check in checks:
            processes = [a for a in getattr(check.measure, "args", ()) if isinstance(a, SDE)]
            own = (runs[type(sde)] for sde in processes if type(sde) in runs)
            yield replace(check, roots=(*own, *forms, *roots))

    (generators,) = follow([generators])
    behaviour = [
        *follow(contract.checks(sampler, trials, quick=quick), generators),
        *follow(randomness.checks(sampler, trials["rectified-flow"]), generators),
    ]
    noise = next(check for check in behaviour if str(check) == "noise")
    measured = [
        *single_steps.checks(sampler, trials),
        *accuracy.checks(sampler, trials, quick=quick),
        *fresh_noise.checks(sampler, trials["vp"]),
    ]
    law = "a frozen dataclass; every option has a type and a default"
    declaration = Check("declaration", law, partial(contract.declaration, sampler))
    return [declaration, *runs.values(), *forms, generators, *behaviour, *follow(measured, noise)]


def _runs(sampler: Sampler, trials: dict[str, SDE]) -> dict[type[SDE], Check]:
    """Return a check for each process that a run raises no exception and is finite, by the type of the process.

    The first process comes first, and one process with alpha = 0 at t_max before the others.
    """
    runs: dict[Any, Check] = {}
    vanishing: list[Check] = []
    for name, sde in trials.items():
        law = "a run raises no exception, and x is finite at every time"
        roots = (*list(runs.values())[:1], *vanishing)
        check = Check(f"runs[{name}]", law, partial(contract.runs, sampler, sde), roots)
        if sde.alpha(as_time(sde.t_max)) < 1e-12:
            vanishing.append(check)
        else:
            check = replace(check, roots=roots[:1])
        runs[type(sde)] = check
    return runs
