"""The registry: every component, built-in or third-party, found through the entry-point group `sdekit`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from sdekit import API_VERSION, __version__
from sdekit.errors import InputError

from . import hookspecs
from .component_options import FROZEN, configuration_fault, parameters, unknown_name

GROUP = "sdekit"
KINDS = {
    "sde": "sdekit_sdes",
    "sampler": "sdekit_samplers",
    "grid": "sdekit_grids",
    "guidance": "sdekit_guidances",
    "operator": "sdekit_operators",
    "restorer": "sdekit_restorers",
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
        """The class or factory itself; imports it where the target is "module:Name".

        Raises InputError where it cannot be imported, or cannot be configured: see `fault`.
        """
        return self._loaded

    @cached_property
    def _loaded(self) -> Callable[..., Any]:
        loaded = self._import() if isinstance(self.target, str) else self.target
        if wrong := configuration_fault(self.kind, loaded):
            who = f"plugin {self.plugin!r} ({self.package} {self.version})"
            raise InputError(f"{self.kind} {self.name!r} of {who}: {wrong}")
        return loaded

    def _import(self) -> Callable[..., Any]:
        module, _, path = str(self.target).partition(":")
        try:
            loaded: Callable[..., Any] = attrgetter(path)(import_module(module))
        except (Exception, SystemExit) as error:
            what = f"{self.kind} {self.name!r} of plugin {self.plugin!r} cannot be loaded from {self.target!r}"
            raise InputError(f"{what}: {type(error).__name__}: {error}") from error
        return loaded


@dataclass(frozen=True)
class Registry:
    """Everything that is installed. problems: one message for each plugin that was skipped or is in conflict."""

    entries: Mapping[tuple[str, str], Entry]
    manager: pluggy.PluginManager
    problems: tuple[str, ...]
    conflicts: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Source:
    """Where a plugin comes from: an installed package, or a file named by hand."""

    name: str
    package: str
    version: str
    load: Callable[[], Any]

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.package} {self.version}"


_files: list[Path] = []


def load_plugin_file(path: Path) -> None:
    """Use a plugin from a Python file, in this process only; it is listed as the file, version "local".

    Raises InputError where there is no such file, or the plugin cannot be loaded: the message says why.
    """
    if (path := path.absolute()) in _files:
        return
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"--plugin {path}: {'no such file' if path.suffix == '.py' else 'name a Python file (.py)'}")
    _files.append(path)
    registry.cache_clear()
    problems = [problem for problem in registry().problems if f" of {path} local" in problem]
    if problems:
        _files.remove(path)
        _module.cache_clear()
        registry.cache_clear()
        raise InputError(f"--plugin: {problems[0]}")


def plugin_files() -> list[str]:
    """The plugin files in use, for the record of a run."""
    return [str(path) for path in _files]


def forget_plugin_files() -> None:
    """Use no plugin files any longer."""
    _files.clear()
    _module.cache_clear()
    registry.cache_clear()


def _sources() -> list[Source]:
    """Every plugin, the core's first: they keep their names whoever claims them too."""
    points = sorted(entry_points(group=GROUP), key=lambda p: (p.name not in ("core", "plugins"), p.name))
    installed = [
        Source(p.name, *((p.dist.name, p.dist.version) if p.dist else ("?", "?")), load=p.load) for p in points
    ]
    return [*installed, *(Source(path.stem, str(path), "local", partial(_module, path)) for path in _files)]


@cache
def _module(path: Path) -> ModuleType:
    """The module that a file holds, imported once until `forget_files`: its classes stay the same."""
    name = f"sdekit_local_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}"
    spec = spec_from_file_location(name, path)
    assert spec and spec.loader  # of any .py file
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and "module:Name" look it up
    spec.loader.exec_module(module)
    return module


@cache
def registry() -> Registry:
    """Load every plugin once. A plugin that fails is reported in `problems` and skipped; nothing else is touched."""
    manager = pluggy.PluginManager("sdekit")
    manager.add_hookspecs(hookspecs)
    disabled = set(filter(None, re.split(r"[,\s]+", os.environ.get("SDEKIT_DISABLE_PLUGINS", ""))))
    found: dict[tuple[str, str], Entry] = {}
    conflicts: dict[tuple[str, str], str] = {}
    problems: list[str] = []
    for who in _sources():
        if who.name in disabled:
            continue
        if manager.has_plugin(who.name):
            problems.append(f"{who} was skipped: another package's plugin has this name already")
            continue
        try:
            module = who.load()
            _check_api(module, who)
            manager.register(module, name=who.name)
            _check_hooks(manager, who.name)
            entries = _entries(manager, who)
        except (Exception, SystemExit) as error:
            if manager.has_plugin(who.name):
                manager.unregister(name=who.name)
            thawed = "non-frozen dataclass" in str(error)
            problems.append(f"{who} was skipped: {type(error).__name__}: {error}{FROZEN if thawed else ''}")
            continue
        for entry in entries:
            key = (entry.kind, entry.name)
            if other := found.get(key):
                conflicts[key] = (
                    f"{entry.kind} {entry.name!r} is claimed by plugin {other.plugin!r} of {other.package} "
                    f"{other.version} and by {who}: uninstall one of them, or set SDEKIT_DISABLE_PLUGINS={who.name}"
                )
            else:
                found[key] = entry
    return Registry(found, manager, (*problems, *conflicts.values()), conflicts)


def component_names(kind: str) -> list[str]:
    """Sorted names of all registered components of a kind."""
    return sorted(name for k, name in registry().entries if k == kind)


def find_component(kind: str, name: str) -> Entry:
    """The component of that name; InputError with a suggestion where there is none, or where two plugins claim it."""
    if (kind, name) in registry().conflicts:
        raise InputError(registry().conflicts[kind, name])
    if (kind, name) not in registry().entries:
        raise InputError(unknown_name(kind, name, component_names(kind), "Installed"))
    return registry().entries[kind, name]


def complete_options(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` completed with the defaults; InputError for an option that the component does not have."""
    known = parameters(find_component(kind, name).load())
    for option in given:
        if option not in known:
            raise InputError(unknown_name(f"option of {kind} {name!r} named", option, sorted(known), "It has"))
    return {option: given.get(option, p.default) for option, p in known.items()}


def build(kind: str, name: str, /, *args: Any, **given: Any) -> Any:
    """Build a component: sdes, samplers and datasets are called; of grids and guidances the options are bound.

    args: what comes before the options, (shape, classes) for a network and (path,) for some data sets.
    """
    target = find_component(kind, name).load()
    complete = complete_options(kind, name, given)
    if kind in ("grid", "guidance", "backend", "metric"):
        return partial(target, **complete)
    return target(*args, **complete)


def resolve(kind: str, choice: Any, /, *args: Any, **options: Any) -> Any:
    """Return the object that a user chose: a registered name is built, any other object is returned as it is.

    Arguments:
        kind: Kind of the component, a key of `KINDS`.
        choice: Registered name, or the object itself.
        args: Positional arguments of `build`, for a name.
        options: Options of the component, for a name.
    Returns:
        The built component, or `choice`.
    Raises:
        InputError: If no component has this name, or if options are given with an object.
    """
    if isinstance(choice, str):
        return build(kind, choice, *args, **options)
    if options:
        raise InputError(
            f"{kind}: the options {', '.join(sorted(options))} apply to a registered name, but {choice!r} is an object "
            "already: set its options when you create it"
        )
    return choice


def _check_api(module: Any, who: Source) -> None:
    """A plugin may say `sdekit_api = 1`: the version of the plugin API that it was written for."""
    declared = getattr(module, "sdekit_api", API_VERSION)
    if declared != API_VERSION:
        older = isinstance(declared, int) and declared < API_VERSION
        way_out = f"upgrade {who.package}" if older else "upgrade sdekit"
        raise InputError(
            f"it is written for version {declared!r} of the plugin API, and sdekit {__version__} has version "
            f"{API_VERSION}: {way_out}"
        )


def _check_hooks(manager: pluggy.PluginManager, plugin: str) -> None:
    """A function that is marked as a hook but is none is a misspelling."""
    module = manager.get_plugin(plugin)
    known = [name for name in vars(hookspecs) if name.startswith("sdekit_")]
    for name in dir(module):
        marked = manager.parse_hookimpl_opts(module, name)
        hook = (marked["specname"] or name) if marked else None
        if hook and hook not in known:
            raise InputError(unknown_name("hook", hook, known, "Hooks"))


def _entries(manager: pluggy.PluginManager, who: Source) -> list[Entry]:
    entries = []
    module = manager.get_plugin(who.name)
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
                entries.append(Entry(kind, name, target, who.name, who.package, who.version))
    return entries
