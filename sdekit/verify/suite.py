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

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from sdekit.data import Dataset
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS
from sdekit.processes import SDE
from sdekit.registry import find_component as entry_of, load_plugins, unknown_name
from sdekit.sampling import Sampler
from sdekit.verify.sampler_checks import all_checks as samplers

from .common.report import Check, Finding, NotConforming, Report, Result
from .component_checks import (
    backend_checks as backends,
    dataset_checks as datasets,
    grid_checks as grids,
    guidance_checks as guidances,
    inverse_checks as inverse,
    loader_checks as loaders,
    network_checks as networks,
    prediction_checks as predictions,
    process_checks as processes,
)

__all__ = ["Check", "Finding", "NotConforming", "Report", "Result", "checks", "checks_of", "verify"]

BY_KIND: dict[str, Callable[..., list[Check]]] = {
    "sde": processes.checks,
    "sampler": samplers.checks,
    "grid": grids.checks,
    "guidance": guidances.checks,
    "operator": inverse.operator_checks,
    "restorer": inverse.restorer_checks,
    "network": networks.checks,
    "backend": backends.checks,
    "dataset": datasets.checks,
    "metric": datasets.metric_checks,
    "loader": loaders.checks,
    "prediction": predictions.checks,
}
"""Kind of component to its checks. A prediction is no plugin: it is a name of `PREDICTIONS`."""


def checks(component: Any, *, kind: str | None = None, quick: bool = False) -> list[Check]:
    """The checks of a component: call each to run it. quick: fewer processes and steps, for use while one works.

    component: a sampler or process (an object), or, with its kind said: a grid `(sde, n)`, a guidance
    `(sde, denoise, **options)`, a network `(shape, classes)`, a backend `(network)`, a data set `()`, a metric
    `(samples, reference)`, a loader `(path)` or a prediction `(network, sde, data_std=...)`, as a function or class.
    Raises InputError for a kind that has no checks.
    """
    kind = kind or _kind(component)
    if kind not in BY_KIND:
        raise InputError(unknown_name("checks for kind", kind, list(BY_KIND), "Kinds"))
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


def checks_of(
    kind: str, name: str, *, path: str | None = None, options: Mapping[str, Any] | None = None, quick: bool = False
) -> list[Check]:
    """The checks of a registered component. path: of a data set or loader NAME:PATH; options: unless its defaults.

    Raises InputError for a data set that needs a path and has none, for a path where nothing is, and for a path or
    options that nothing takes.
    """
    if kind == "prediction":
        return predictions.checks(name, quick=quick)
    target = entry_of(kind, name).load()
    if kind not in BY_KIND:
        raise InputError(f"{kind} {name!r}: there are no checks for a {kind} (there are for {', '.join(BY_KIND)})")
    if kind == "loader":
        _check_there(target, name, path)
        return loaders.checks(target, path=path, quick=quick)
    if kind == "dataset":
        return checks(_opened(target, name, path), kind=kind, quick=quick)
    if path is not None:
        raise InputError(f"{kind} {name!r} takes no path: write {name}, or {name}:option=value")
    if kind in ("sampler", "sde"):
        return checks(target(**(options or {})), kind=kind, quick=quick)
    return checks(partial(target, **options) if options else target, kind=kind, quick=quick)


def _opened(target: Callable[..., Dataset], name: str, path: str | None) -> Callable[[], Dataset]:
    before = [] if path is None else [path]
    try:
        inspect.signature(target).bind(*before)
    except TypeError:
        needs = f"needs a path: write {name}:PATH" if path is None else f"takes no path: write {name}"
        raise InputError(f"data set {name!r} {needs}") from None
    _check_there(target, name, path)
    return partial(target, *before)


def _check_there(target: Callable[..., Any], name: str, path: str | None) -> None:
    """Where no file or folder is at the path it is opened once, or every check would say that it is missing."""
    if path is None or os.path.exists(os.path.expanduser(path)):
        return
    try:
        target(path)
    except OSError as error:
        raise InputError(f"{name}:{path}: {error.strerror or error}") from error


def find(name: str) -> str:
    """The kind of the one component of that name; InputError where there is none, or more than one.

    A registered component goes before a prediction of its name.
    """
    kinds = [kind for kind, known in load_plugins().entries if known == name] or ["prediction"] * (name in PREDICTIONS)
    if not kinds:
        known = sorted({n for _, n in load_plugins().entries} | {*PREDICTIONS})
        raise InputError(unknown_name("component", name, known, "Installed"))
    if len(kinds) > 1:
        raise InputError(f"{name!r} is a {' and a '.join(kinds)}: say which with kind")
    return kinds[0]


def _kind(component: Any) -> str:
    for kind, parent in (("sampler", Sampler), ("sde", SDE), ("network", nn.Module), ("dataset", Dataset)):
        if isinstance(component, parent) or (isinstance(component, type) and issubclass(component, parent)):
            return kind
    raise InputError(f"verify: {component!r} does not say what it is: give its kind, one of {', '.join(BY_KIND)}")
