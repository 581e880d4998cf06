"""Find, look up and build components; built-in and third-party plugins come from the entry-point group `sdekit`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from sdekit import API_VERSION, __version__
from sdekit.arguments import check_options, describe_value
from sdekit.errors import InputError

from . import hookspecs
from .component_parameters import FROZEN, configuration_fault, parameters, unknown_name
from .foreign_names import unknown_component
from .foreign_options import unknown_option
from .hookspecs import BUILT_IN, GROUP
from .kinds import KINDS, kind_name


@dataclass(frozen=True)
class Entry:
    """A registered component and the plugin that provides it.

    Arguments:
        kind: Kind of the component, a key of `KINDS`.
        name: Registered name.
        target: Class or factory, or its address "module:Name".
        plugin: Name of the plugin, that is of its entry point or file.
        package: Package that contains the plugin, or the path of a plugin file.
        version: Version of the package, or "local" for a plugin file.
    """

    kind: str
    name: str
    target: hookspecs.Target
    plugin: str
    package: str
    version: str

    def load(self) -> Callable[..., Any]:
        """Return the class or factory, and import it first if the target is "module:Name".

        Raises:
            InputError: If the target cannot be imported, or if its options lack a type or a default.
        """
        return self._loaded

    @cached_property
    def _loaded(self) -> Callable[..., Any]:
        loaded = self._import() if isinstance(self.target, str) else self.target
        if fault := configuration_fault(self.kind, loaded):
            plugin = f"plugin {self.plugin!r} ({self.package} {self.version})"
            raise InputError(f"{kind_name(self.kind)} {self.name!r} of {plugin}: {fault}")
        return loaded

    def _import(self) -> Callable[..., Any]:
        module, _, path = str(self.target).partition(":")
        try:
            loaded: Callable[..., Any] = attrgetter(path)(import_module(module))
        except (Exception, SystemExit) as error:
            component = f"{kind_name(self.kind)} {self.name!r} of plugin {self.plugin!r}"
            raise InputError(f"{component} cannot be loaded from {self.target!r}: {_describe(error)}") from error
        return loaded


@dataclass(frozen=True)
class Registry:
    """All installed components.

    Arguments:
        entries: Maps (kind, name) to the component.
        manager: The pluggy manager with all plugins that were loaded.
        problems: One message for each plugin that was skipped and for each conflict.
        conflicts: Maps (kind, name) to the message about two plugins that provide the same name.
    """

    entries: Mapping[tuple[str, str], Entry]
    manager: pluggy.PluginManager
    problems: tuple[str, ...]
    conflicts: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Source:
    """The origin of a plugin: an entry point of an installed package, or a Python file.

    Arguments:
        name: Name of the plugin.
        package: Name of the package, or path of the file.
        version: Version of the package, or "local" for a file.
        load: Function that imports the plugin's module.
    """

    name: str
    package: str
    version: str
    load: Callable[[], Any]

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.package} {self.version}"


MOST_SOURCE = 2**24
"""Largest size in bytes of a plugin file."""
_files: list[Path] = []


def load_plugin_file(path: Path) -> None:
    """Load a plugin from a Python file, for this process only.

    Arguments:
        path: The file. The listing shows it as the package, with version "local".
    Raises:
        InputError: If the file does not exist or is not a `.py` file, or if the plugin cannot be loaded.
    """
    if (path := path.absolute()) in _files:
        return
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"--plugin {path}: {'no such file' if path.suffix == '.py' else 'name a Python file (.py)'}")
    if path.stat().st_size > MOST_SOURCE:
        raise InputError(f"--plugin {path}: larger than {MOST_SOURCE:,} bytes, which no source file is")
    _files.append(path)
    load_plugins.cache_clear()
    problems = [problem for problem in load_plugins().problems if f" of {path} local" in problem]
    if problems:
        _files.remove(path)
        _module.cache_clear()
        load_plugins.cache_clear()
        raise InputError(f"--plugin: {problems[0]}")


def plugin_files() -> list[str]:
    """Return the paths of the loaded plugin files, which the records of runs and samples contain."""
    return [str(path) for path in _files]


def forget_plugin_files() -> None:
    """Unload all plugin files."""
    _files.clear()
    _module.cache_clear()
    load_plugins.cache_clear()


def _sources() -> list[Source]:
    """Return all plugins. The built-in ones come first, so that they keep their names in a conflict."""
    from importlib.metadata import entry_points  # takes 10 ms, which the help of a command can do without

    points = sorted(entry_points(group=GROUP), key=lambda p: (p.name not in BUILT_IN, p.name))
    installed = []
    for point in points:
        package, version = "?", "?"
        if point.dist is not None:
            metadata = point.dist.metadata  # reads the file, as `name` and `version` do each time
            package, version = metadata["Name"], metadata["Version"]
        installed.append(Source(point.name, package, version, load=point.load))
    return [*installed, *(Source(path.stem, str(path), "local", partial(_module, path)) for path in _files)]


@cache
def _module(path: Path) -> ModuleType:
    """Import a plugin file once, so that its classes stay the same until `forget_plugin_files`."""
    name = f"sdekit_local_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}"
    spec = spec_from_file_location(name, path)
    assert spec and spec.loader  # every .py file has a loader
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and "module:Name" look the module up here
    spec.loader.exec_module(module)
    return module


@cache
def load_plugins() -> Registry:
    """Load all installed plugins, once per process.

    Returns:
        The registry. A plugin that fails to load is skipped and reported in `problems`; the others are loaded.
    """
    manager = pluggy.PluginManager("sdekit")
    manager.add_hookspecs(hookspecs)
    disabled = set(filter(None, re.split(r"[,\s]+", os.environ.get("SDEKIT_DISABLE_PLUGINS", ""))))
    entries: dict[tuple[str, str], Entry] = {}
    conflicts: dict[tuple[str, str], str] = {}
    problems: list[str] = []
    for source in _sources():
        if source.name in disabled:
            continue
        if manager.has_plugin(source.name):
            problems.append(f"{source} was skipped: a plugin of another package has the same name")
            continue
        try:
            module = source.load()
            _check_api(module, source)
            manager.register(module, name=source.name)
            _check_hooks(manager, source.name)
            provided = _entries(manager, source)
        except (Exception, SystemExit) as error:
            if manager.has_plugin(source.name):
                manager.unregister(name=source.name)
            problems.append(f"{source} was skipped: {_describe(error)}")
            continue
        for entry in provided:
            key = (entry.kind, entry.name)
            if other := entries.get(key):
                conflicts[key] = (
                    f"{entry.kind} {entry.name!r} is provided by plugin {other.plugin!r} of {other.package} "
                    f"{other.version} and by {source}: uninstall one of them, or set "
                    f"SDEKIT_DISABLE_PLUGINS={source.name}"
                )
            else:
                entries[key] = entry
    return Registry(entries, manager, (*problems, *conflicts.values()), conflicts)


def _describe(error: BaseException) -> str:
    """Describe an error of a plugin in one line, with a hint if the plugin was written for sdekit 0.1."""
    hint = ""
    if "non-frozen dataclass" in str(error):
        hint = FROZEN
    elif isinstance(error, ImportError):
        from .moved_modules import new_location

        hint = new_location(error)
    return f"{type(error).__name__}: {error}{hint}"


def component_names(kind: str) -> list[str]:
    """Return the sorted names of all registered components of a kind.

    Arguments:
        kind: A key of `KINDS`.
    Returns:
        The names; an empty list for an unknown kind.
    """
    return sorted(name for k, name in load_plugins().entries if k == kind)


def find_component(kind: str, name: str) -> Entry:
    """Find a registered component.

    Arguments:
        kind: A key of `KINDS`.
        name: Registered name, in upper or lower case.
    Returns:
        The component's entry.
    Raises:
        InputError: If no component has this name, or two plugins provide it. The message suggests the equivalent of a
            name of another program, or a similar name.
    """
    registry = load_plugins()
    if not isinstance(name, str):
        raise InputError(f"{kind_name(kind)} must be a registered name, got {describe_value(name)}")
    written, name = name, name if (kind, name) in registry.entries else name.lower()
    if (kind, name) in registry.conflicts:
        raise InputError(registry.conflicts[kind, name])
    if (kind, name) not in registry.entries:
        raise InputError(unknown_component(kind, written, component_names(kind)))
    return registry.entries[kind, name]


def complete_options(kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the options of a component with its defaults.

    Arguments:
        kind: A key of `KINDS`.
        name: Registered name.
        options: Values of some options.
    Returns:
        Values of all options.
    Raises:
        InputError: If the component has no option of a given name (the message suggests a similar one), or a value has
            another type than the option.
    """
    known = parameters(find_component(kind, name).load())
    for option in options:
        if option not in known:
            raise InputError(unknown_option(f"{kind_name(kind)} {name!r}", option, list(known)))
    annotations = {option: p.annotation for option, p in known.items()}
    if kind == "loader":
        annotations.pop("device", None)  # a torch.device or its name, whatever the loader declares
    check_options(f"{kind_name(kind)} {name!r}", options, annotations)
    return {option: options.get(option, p.default) for option, p in known.items()}


def build(kind: str, name: str, /, *args: Any, **options: Any) -> Any:
    """Build a registered component.

    Classes and factories are called. A grid, guidance, backend or metric is a function that is called later, with
    `(sde, n)`, `(sde, denoise)`, `(network)` or `(samples, reference)`: only its options are bound.

    Arguments:
        kind: A key of `KINDS`.
        name: Registered name.
        args: Arguments before the options: (shape, classes) of a network, (shape,) of an operator, (problem,) of a
            restorer, (path,) of a loader and of some data sets.
        options: Values of some options; the others have their defaults.
    Returns:
        The component.
    Raises:
        InputError: If no component has this name, or if it has no option of a given name.
    """
    target = find_component(kind, name).load()
    complete = complete_options(kind, name, options)
    if kind in ("grid", "guidance", "backend", "metric"):
        return partial(target, **complete)
    return target(*args, **complete)


def with_data_std(kind: str, name: str, options: Mapping[str, Any], data_std: float) -> dict[str, Any]:
    """Add the standard deviation of the data if the component has an option `data_std` that is not set.

    It is not added if the default of `data_std` is None, because None then has a meaning of its own.

    Arguments:
        kind: A key of `KINDS`.
        name: Registered name.
        options: Values of some options.
        data_std: Standard deviation of the data in the model's units.
    Returns:
        The options, with `data_std` if the component has this option.
    Raises:
        InputError: If no component has this name.
    """
    option = parameters(find_component(kind, name).load()).get("data_std")
    return dict(options) if option is None or option.default is None else {"data_std": data_std, **options}


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
            f"{kind_name(kind)}: the options {', '.join(sorted(options))} apply to a registered name, but {choice!r} "
            "is an object already: set its options when you create it"
        )
    return choice


def _check_api(module: Any, source: Source) -> None:
    """Check the version of the plugin API that a plugin declares as `sdekit_api`."""
    declared = getattr(module, "sdekit_api", API_VERSION)
    if declared == API_VERSION:
        return
    advice = "upgrade sdekit"
    if isinstance(declared, int) and declared < API_VERSION:
        advice = (
            f"upgrade {source.package}, or change the names in the tables of renames in CHANGELOG.md and set "
            f"sdekit_api = {API_VERSION}"
        )
    raise InputError(
        f"it is written for version {declared!r} of the plugin API, but sdekit {__version__} has version "
        f"{API_VERSION}: {advice}"
    )


def _check_hooks(manager: pluggy.PluginManager, plugin: str) -> None:
    """Check that every function marked as a hook has the name of a hook."""
    module = manager.get_plugin(plugin)
    known = [name for name in vars(hookspecs) if name.startswith("sdekit_")]
    for name in dir(module):
        marked = manager.parse_hookimpl_opts(module, name)
        hook = (marked["specname"] or name) if marked else None
        if hook and hook not in known:
            raise InputError(unknown_name("hook", hook, known, "Hooks"))


def _entries(manager: pluggy.PluginManager, source: Source) -> list[Entry]:
    """Call the hooks of one plugin and return its components."""
    entries = []
    module = manager.get_plugin(source.name)
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
                entries.append(Entry(kind, name, target, source.name, source.package, source.version))
    return entries
