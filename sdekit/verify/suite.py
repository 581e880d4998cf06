"""Choose the checks of a component, and run them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from sdekit.data import Dataset
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS
from sdekit.processes import SDE
from sdekit.registry import find_component, kind_name, load_plugins, unknown_name
from sdekit.sampling import Sampler
from sdekit.verify.sampler_checks import all_checks

from .common.check_results import NO_EXCEPTION, Check, Report, Result
from .component_checks import (
    backend_checks,
    dataset_checks,
    feature_checks,
    grid_checks,
    guidance_checks,
    inverse_checks,
    loader_checks,
    logger_checks,
    metric_checks,
    network_checks,
    objective_checks,
    prediction_checks,
    process_checks,
)

CHECKS_BY_KIND: dict[str, Callable[..., list[Check]]] = {
    "sde": process_checks.checks,
    "sampler": all_checks.checks,
    "grid": grid_checks.checks,
    "guidance": guidance_checks.checks,
    "operator": inverse_checks.operator_checks,
    "restorer": inverse_checks.restorer_checks,
    "network": network_checks.checks,
    "backend": backend_checks.checks,
    "dataset": dataset_checks.checks,
    "metric": metric_checks.checks,
    "features": feature_checks.checks,
    "loader": loader_checks.checks,
    "objective": objective_checks.checks,
    "logger": logger_checks.checks,
    "prediction": prediction_checks.checks,
}
"""Map from each kind to the function that returns the checks of a component. Predictions may be given by name."""


def checks(component: Any, *, kind: str | None = None, quick: bool = False) -> list[Check]:
    """Return the checks of a component. Call a check to run it.

    Arguments:
        component: Sampler, process, network or data set, as an object or a class; or a function or class of another
            kind, which is called with these arguments: grid `(sde, n)`, guidance `(sde, denoise, **options)`, backend
            `(network)`, metric `(samples, reference)`, features `()`, loader `(path)`, logger `(run_folder, recipe)`,
            prediction `(network, sde, data_std=...)`. A network may also be a function `(shape, classes)`, and a data
            set a function `()`.
        kind: Kind of the component. Required for functions.
        quick: Measure on fewer processes and step counts.
    Returns:
        Checks, in the order of the report.
    Raises:
        InputError: If the kind is unknown or has no checks.
    """
    kind = kind or _kind_of(component)
    if kind not in CHECKS_BY_KIND:
        raise InputError(unknown_name("checks for kind", kind, list(CHECKS_BY_KIND), "Kinds"))
    if kind == "dataset" and isinstance(component, Dataset):
        return dataset_checks.checks(lambda: component, quick=quick)
    if kind in ("sampler", "sde") and isinstance(component, type):
        component = component()
    return CHECKS_BY_KIND[kind](component, quick=quick)


def verify(component: Any, *, kind: str | None = None, quick: bool = False) -> Report:
    """Run all checks of a component.

    Arguments:
        component: Component as for `checks`, or the name of a registered component.
        kind: Kind of the component. Required for functions, and for names that several kinds share.
        quick: Measure on fewer processes and step counts.
    Returns:
        Results of all checks.
    """
    if isinstance(component, str):
        kind = kind or find_kind(component)
        return run_checks(component, kind, registered_checks(kind, component, quick=quick))
    name = getattr(component, "__name__", type(component).__name__)
    return run_checks(name, kind or _kind_of(component), checks(component, kind=kind, quick=quick))


def run_checks(
    name: str, kind: str, checks: Sequence[Check], on_result: Callable[[Result], None] | None = None
) -> Report:
    """Run checks one after the other. A check that fails by the same exception as an earlier one counts as skipped.

    Arguments:
        name: Name of the component in the report.
        kind: Kind of the component in the report.
        checks: Checks to run.
        on_result: Function that is called with each result, for example to show progress.
    Returns:
        Results of all checks.
    """
    results: list[Result] = []
    exceptions: dict[str, str] = {}
    for check in checks:
        result = check()
        if result.expected == NO_EXCEPTION:
            first = exceptions.setdefault(str(result.measured), result.name)
            if first != result.name:
                result = replace(result, passed=True, skipped=True, measured=f"follows from {first}", cause="")
        results.append(result)
        if on_result is not None:
            on_result(results[-1])
    return Report(name, kind, tuple(results))


def registered_checks(
    kind: str, name: str, *, path: str | None = None, options: Mapping[str, Any] | None = None, quick: bool = False
) -> list[Check]:
    """Return the checks of a registered component.

    Arguments:
        kind: Kind of the component.
        name: Registered name.
        path: File or folder of a data set or loader, as in NAME:PATH.
        options: Options of the component. By default, the component is created with its default options.
        quick: Measure on fewer processes and step counts.
    Returns:
        Checks, in the order of the report.
    Raises:
        InputError: If a data set needs a path and has none, if nothing exists at the path, or if the component does
            not support the path or the options.
    """
    if kind == "prediction":
        return prediction_checks.checks(name, quick=quick)
    target = find_component(kind, name).load()
    if kind not in CHECKS_BY_KIND:
        kinds = ", ".join(CHECKS_BY_KIND)
        raise InputError(
            f"{kind_name(kind)} {name!r}: there are no checks for a {kind_name(kind)} (there are for {kinds})"
        )
    if kind == "loader":
        _check_path_exists(target, name, path)
        load = partial(target, **options) if options else target
        return loader_checks.checks(load, path=path, quick=quick)
    if kind == "dataset":
        return checks(_dataset_opener(target, name, path), kind=kind, quick=quick)
    if path is not None:
        raise InputError(f"{kind_name(kind)} {name!r} takes no path: write {name}, or {name}:option=value")
    if kind in ("sampler", "sde"):
        return checks(target(**(options or {})), kind=kind, quick=quick)
    return checks(partial(target, **options) if options else target, kind=kind, quick=quick)


def _dataset_opener(target: Callable[..., Dataset], name: str, path: str | None) -> Callable[[], Dataset]:
    """Return a function without arguments that opens a data set."""
    arguments = [] if path is None else [path]
    try:
        inspect.signature(target).bind(*arguments)
    except TypeError:
        problem = f"needs a path: write {name}:PATH" if path is None else f"takes no path: write {name}"
        raise InputError(f"data set {name!r} {problem}") from None
    _check_path_exists(target, name, path)
    return partial(target, *arguments)


def _check_path_exists(target: Callable[..., Any], name: str, path: str | None) -> None:
    """Raise the component's error for a missing file before the checks run. Otherwise every check would report it."""
    if path is None or os.path.exists(os.path.expanduser(path)):
        return
    try:
        target(path)
    except OSError as error:
        raise InputError(f"{name}:{path}: {error.strerror or error}") from error


def find_kind(name: str) -> str:
    """Return the kind of the component with this name.

    Arguments:
        name: Name of a registered component or of a prediction. A registered component has precedence over a
            prediction of the same name.
    Returns:
        Kind of the component.
    Raises:
        InputError: If there is no component with this name, or if several kinds share it.
    """
    kinds = [kind for kind, n in load_plugins().entries if n == name] or ["prediction"] * (name in PREDICTIONS)
    if not kinds:
        names = sorted({n for _, n in load_plugins().entries} | {*PREDICTIONS})
        raise InputError(unknown_name("component", name, names, "Installed"))
    if len(kinds) == 2 and "loader" in kinds:  # a loader needs a path, so a bare name means the other component
        kinds.remove("loader")
    if len(kinds) > 1:
        raise InputError(f"{name!r} is the name of a {' and a '.join(kinds)}: choose one with kind=NAME (--kind NAME)")
    return kinds[0]


def _kind_of(component: Any) -> str:
    """Return the kind of an object or class."""
    for kind, parent in (("sampler", Sampler), ("sde", SDE), ("network", nn.Module), ("dataset", Dataset)):
        if isinstance(component, parent) or (isinstance(component, type) and issubclass(component, parent)):
            return kind
    raise InputError(f"verify: the kind of {component!r} is unknown: give its kind, one of {', '.join(CHECKS_BY_KIND)}")
