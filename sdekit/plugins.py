"""The registry: every component, built-in or third-party, found through the entry-point group `sdekit`."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import pluggy

from . import hookspecs
from .errors import InputError

GROUP = "sdekit"
KINDS = {
    "sde": "sdekit_sdes",
    "sampler": "sdekit_samplers",
    "grid": "sdekit_grids",
    "guidance": "sdekit_guidances",
    "network": "sdekit_networks",
    "backend": "sdekit_backends",
    "dataset": "sdekit_datasets",
    "metric": "sdekit_metrics",
    "loader": "sdekit_loaders",
}
"""Kind of component to the hook that provides it."""


@dataclass(frozen=True)
class Entry:
    """One registered component and who provides it."""

    kind: str
    name: str
    target: hookspecs.Target
    plugin: str
    package: str
    version: str

    def load(self) -> Callable[..., Any]:
        """The class or factory itself; imports it where the target is "module:Name"."""
        if not isinstance(self.target, str):
            return self.target
        module, _, path = self.target.partition(":")
        try:
            found: Any = import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
        except Exception as error:
            raise InputError(
                f"{self.kind} {self.name!r} of plugin {self.plugin!r} cannot be loaded from {self.target!r}: "
                f"{type(error).__name__}: {error}"
            ) from error
        loaded: Callable[..., Any] = found
        return loaded


@dataclass(frozen=True)
class Registry:
    """Everything that is installed. problems: one message for each plugin that was skipped or is in conflict."""

    entries: Mapping[tuple[str, str], Entry]
    manager: pluggy.PluginManager
    problems: tuple[str, ...]
    conflicts: Mapping[tuple[str, str], str]


@cache
def registry() -> Registry:
    """Load every plugin once. A plugin that fails is reported in `problems` and skipped; nothing else is touched."""
    manager = pluggy.PluginManager("sdekit")
    manager.add_hookspecs(hookspecs)
    disabled = set(filter(None, re.split(r"[,\s]+", os.environ.get("SDEKIT_DISABLE_PLUGINS", ""))))
    found: dict[tuple[str, str], Entry] = {}
    conflicts: dict[tuple[str, str], str] = {}
    problems: list[str] = []
    for point in sorted(
        entry_points(group=GROUP), key=lambda point: (point.name not in ("core", "plugins"), point.name)
    ):
        if point.name in disabled:
            continue
        package, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        who = f"plugin {point.name!r} of {package} {version}"
        if manager.has_plugin(point.name):
            problems.append(f"{who} was skipped: another package's plugin has this name already")
            continue
        try:
            manager.register(point.load(), name=point.name)
            _check_hooks(manager, point.name)
            entries = _entries(manager, point.name, package, version)
        except Exception as error:
            if manager.has_plugin(point.name):
                manager.unregister(name=point.name)
            problems.append(f"{who} was skipped: {type(error).__name__}: {error}")
            continue
        for entry in entries:
            key = (entry.kind, entry.name)
            if key in found:
                other = found[key]
                conflicts[key] = (
                    f"{entry.kind} {entry.name!r} is claimed by plugin {other.plugin!r} of {other.package} "
                    f"{other.version} and by {who}: uninstall one of them, or set SDEKIT_DISABLE_PLUGINS={point.name}"
                )
            else:
                found[key] = entry
    return Registry(found, manager, (*problems, *conflicts.values()), conflicts)


def names(kind: str) -> list[str]:
    """Sorted names of all registered components of a kind."""
    return sorted(name for k, name in registry().entries if k == kind)


def entry(kind: str, name: str) -> Entry:
    """The component of that name; InputError with a suggestion where there is none, or where two plugins claim it."""
    if (kind, name) in registry().conflicts:
        raise InputError(registry().conflicts[kind, name])
    if (kind, name) not in registry().entries:
        raise InputError(unknown(kind, name, names(kind), "Installed"))
    return registry().entries[kind, name]


def unknown(what: str, name: str, known: list[str], label: str) -> str:
    """ "no sampler 'ddmi'; did you mean 'ddim'? Installed: ..." """
    close = sorted(
        get_close_matches(name, known), key=lambda other: sorted(other) != sorted(name)
    )  # swapped letters first
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"no {what} {name!r}{hint} {label}: {', '.join(known) or 'none'}"


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The options of a component: its keyword-only parameters, annotations resolved."""
    signature = inspect.signature(target, eval_str=True)
    return {p.name: p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}


def options(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` completed with the defaults; InputError for an option that the component does not have."""
    known = parameters(entry(kind, name).load())
    for option in given:
        if option not in known:
            raise InputError(unknown(f"option of {kind} {name!r} named", option, sorted(known), "It has"))
    for option, p in known.items():
        if option not in given and p.default is p.empty:
            raise InputError(f"{kind} {name!r} needs a value for its option {option!r}")
    return {option: given.get(option, p.default) for option, p in known.items()}


def make(kind: str, name: str, *args: Any, **given: Any) -> Any:
    """Build a component: sdes, samplers and datasets are called; of grids and guidances the options are bound.

    args: what comes before the options, (shape, classes) for a network and (path,) for some data sets.
    """
    target = entry(kind, name).load()
    complete = options(kind, name, given)
    if kind in ("grid", "guidance", "backend", "metric"):
        from functools import partial

        return partial(target, **complete)
    return target(*args, **complete)


def _check_hooks(manager: pluggy.PluginManager, plugin: str) -> None:
    """A function that is marked as a hook but is none is a misspelling."""
    module = manager.get_plugin(plugin)
    known = [name for name in vars(hookspecs) if name.startswith("sdekit_")]
    for name in dir(module):
        marked = manager.parse_hookimpl_opts(module, name)
        hook = (marked["specname"] or name) if marked else None
        if hook and hook not in known:
            raise InputError(unknown("hook", hook, known, "Hooks"))


def _entries(manager: pluggy.PluginManager, plugin: str, package: str, version: str) -> list[Entry]:
    entries = []
    module = manager.get_plugin(plugin)
    for kind, hook in KINDS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            targets = implementation.function()
            if not isinstance(targets, Mapping):
                raise InputError(f"{hook} returned {type(targets).__name__}, expected a dict of names and targets")
            for name, target in targets.items():
                if not isinstance(name, str) or not (isinstance(target, str) or callable(target)):
                    raise InputError(f"{hook}: {name!r}: {target!r} is neither a class, a factory nor 'module:Name'")
                entries.append(Entry(kind, name, target, plugin, package, version))
    return entries
