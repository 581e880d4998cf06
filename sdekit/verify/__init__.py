"""Is a component right? Checks with exact answers, for samplers, processes and all else that a plugin may provide.

In a plugin's tests, either at once, or one test a check:

    from sdekit.verify import checks, verify

    def test_conforms():
        verify(MySampler()).raise_on_failure()

    @pytest.mark.parametrize("check", checks(MySampler()), ids=str)
    def test_check(check):
        check().raise_on_failure()

On the command line: `sdekit verify NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from sdekit.data.base import Dataset
from sdekit.errors import InputError
from sdekit.plugins import KINDS, registry, unknown
from sdekit.plugins import entry as entry_of
from sdekit.sampling import Sampler
from sdekit.sde import SDE

from . import datasets, grids, guidances, networks, processes, samplers
from .report import Check, Finding, NotConforming, Report, Result

__all__ = ["Check", "Finding", "NotConforming", "Report", "Result", "checks", "checks_of", "verify"]

BY_KIND: dict[str, Callable[..., list[Check]]] = {
    "sde": processes.checks,
    "sampler": samplers.checks,
    "grid": grids.checks,
    "guidance": guidances.checks,
    "network": networks.checks,
    "backend": networks.backend_checks,
    "dataset": datasets.checks,
    "metric": datasets.metric_checks,
}
"""Kind of component to its checks."""


def checks(component: Any, *, kind: str | None = None, quick: bool = False) -> list[Check]:
    """The checks of a component: call each to run it. quick: fewer processes and steps, for use while one works.

    component: a sampler or process (an object), or, with its kind said: a grid `(sde, n)`, a guidance
    `(sde, denoise, **options)`, a network `(shape, classes)`, a backend `(network)`, a data set `()` or a metric
    `(samples, reference)`, as a function or class. Raises InputError for a kind that has no checks.
    """
    kind = kind or _kind(component)
    if kind not in BY_KIND:
        raise InputError(unknown("checks for kind", kind, list(BY_KIND), "Kinds"))
    if kind == "dataset" and isinstance(component, Dataset):
        return datasets.checks(lambda: component, quick=quick)
    if kind in ("sampler", "sde") and isinstance(component, type):
        component = component()
    return BY_KIND[kind](component, quick=quick)


def verify(component: Any, *, kind: str | None = None, quick: bool = False) -> Report:
    """Run all checks of a component, given as to `checks`, or by its registered name."""
    if isinstance(component, str):
        kind = kind or find(component)
        return run(component, kind, checks_of(kind, component, quick=quick))
    name = getattr(component, "__name__", type(component).__name__)
    return run(name, kind or _kind(component), checks(component, kind=kind, quick=quick))


def run(name: str, kind: str, found: Sequence[Check], told: Callable[[Result], None] | None = None) -> Report:
    """Run checks one after the other; told: called with each result as it comes."""
    results = []
    for check in found:
        results.append(check())
        if told is not None:
            told(results[-1])
    return Report(name, kind, tuple(results))


def checks_of(kind: str, name: str, *, path: str | None = None, quick: bool = False) -> list[Check]:
    """The checks of a registered component with its default options; path: of a data set NAME:PATH."""
    target = entry_of(kind, name).load()
    if kind not in BY_KIND:
        raise InputError(f"{kind} {name!r}: there are no checks for a {kind} (there are for {', '.join(BY_KIND)})")
    if kind == "dataset":
        return checks(partial(target, *([path] if path is not None else [])), kind=kind, quick=quick)
    return checks(target() if kind in ("sampler", "sde") else target, kind=kind, quick=quick)


def find(name: str) -> str:
    """The kind of the one component of that name; InputError where there is none, or more than one."""
    kinds = [kind for kind, known in registry().entries if known == name]
    if not kinds:
        raise InputError(unknown("component", name, sorted({n for _, n in registry().entries}), "Installed"))
    if len(kinds) > 1:
        raise InputError(f"{name!r} is a {' and a '.join(kinds)}: say which with kind")
    return kinds[0]


def _kind(component: Any) -> str:
    for kind, parent in (("sampler", Sampler), ("sde", SDE), ("network", nn.Module), ("dataset", Dataset)):
        if isinstance(component, parent) or (isinstance(component, type) and issubclass(component, parent)):
            return kind
    raise InputError(f"verify: {component!r} does not say what it is: give its kind, one of {', '.join(KINDS)}")
