"""`sdekit plugins check`."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import typer

from sdekit.errors import SdekitError
from sdekit.registry import Entry, load_plugins, option_meanings, option_name, parameters
from sdekit_cli.options.shared_options import AsJson, PluginFiles, load_plugin_files
from sdekit_cli.terminal.console import print_json, show_table, shown

LONGEST_SUMMARY = 100
"""Characters of the first line of a docstring, which `sdekit plugins list` shows."""


class Verdict(NamedTuple):
    """Result of one check.

    Arguments:
        plugin: Name of the plugin.
        subject: File, component or property that was checked.
        verdict: "ok", "advice" or "FAILED".
        message: What was found, and what to do.
    """

    plugin: str
    subject: str
    verdict: str
    message: str


def check(plugin: PluginFiles = None, json: AsJson = False) -> None:
    """Check that every installed plugin loads, documents its components, types its options, and is fast to list.

    The exit code is 0 if no check failed, and 1 otherwise. Advice is not a failure.

    Example:

      sdekit plugins check
    """
    from rich.markup import escape
    from rich.table import Table

    load_plugin_files(plugin, quiet=json)
    verdicts = list(_verdicts())
    failures = [v for v in verdicts if v.verdict == "FAILED"]
    if json:
        print_json({"passed": not failures, "checks": [v._asdict() for v in verdicts]})
    else:
        table = Table("plugin", "subject", "", "", box=None, header_style="bold")
        for v in verdicts:
            if v.verdict != "ok":
                table.add_row(*map(escape, v))
        if table.row_count:
            show_table(table)
        plugins = len({v.plugin for v in verdicts})
        shown.print(f"{len(verdicts)} checks of {plugins} plugins, {len(failures)} failed")
    if failures:
        raise typer.Exit(1)


def _verdicts() -> Iterator[Verdict]:
    registry = load_plugins()
    for problem in registry.problems:
        name = re.search(r"plugin '([^']*)'", problem)
        yield Verdict(name[1] if name else "?", "loading", "FAILED", problem)
    modules: dict[str, Any] = dict(sorted(registry.manager.list_name_plugin()))
    for plugin, module in modules.items():
        yield from _check_imports(plugin, Path(inspect.getfile(module)))
        for entry in registry.entries.values():
            if entry.plugin == plugin:
                yield from _check_component(entry)
    yield from check_import_speed(
        {n: m.__name__ for n, m in modules.items() if not m.__name__.startswith("sdekit_local_")}
    )


def _check_imports(plugin: str, file: Path) -> Iterator[Verdict]:
    """Check that a plugin imports public names only: no private ones, and nothing from the command line."""
    for path in sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]:
        names = list(_imported_names(path))
        private = [name for name in names if _is_private(name)]
        inner = [name for name in names if plugin != "core" and _is_inner(name)]
        if private:
            yield Verdict(plugin, path.name, "FAILED", f"imports {', '.join(private)}, which may change at any time")
        elif inner:
            message = f"imports {', '.join(inner)} from a module that may change: import it from its package"
            yield Verdict(plugin, path.name, "advice", message)
        else:
            yield Verdict(plugin, path.name, "ok", "imports public names only")


def _imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_private(name: str) -> bool:
    first, *rest = name.split(".")
    return first == "sdekit_cli" or (
        first == "sdekit" and any(part.startswith("_") and not part.endswith("__") for part in rest)
    )


def _is_inner(name: str) -> bool:
    """Whether a name comes from a module inside a package of sdekit, as in sdekit.sampling.grids.uniform."""
    module = name.rpartition(".")[0]
    if not module.startswith("sdekit.") or module.count(".") < 2:
        return False
    spec = find_spec(module)
    return spec is not None and spec.submodule_search_locations is None


def _check_component(entry: Entry) -> Iterator[Verdict]:
    """Check that a component loads, can be configured, and documents itself and its options."""
    subject = f"{entry.kind} {entry.name}"
    try:
        target = entry.load()
    except SdekitError as error:
        yield Verdict(entry.plugin, subject, "FAILED", str(error))
        return
    doc = target.__doc__ or ""
    if not doc.strip() or doc.startswith(f"{getattr(target, '__name__', '')}("):  # generated by @dataclass
        message = "it has no docstring: `sdekit plugins list` shows its first line"
        yield Verdict(entry.plugin, subject, "FAILED", message)
        return
    summary = (inspect.getdoc(target) or "").partition("\n")[0]
    meanings = option_meanings(target)
    missing = [option_name(option) for option in parameters(target) if option not in meanings]
    if missing:
        message = f"add the options {', '.join(missing)} to the section `Arguments:` of its docstring"
        yield Verdict(entry.plugin, subject, "advice", message)
    if len(summary) > LONGEST_SUMMARY:
        message = f"shorten the first line of its docstring to {LONGEST_SUMMARY} characters, for the listing"
        yield Verdict(entry.plugin, subject, "advice", message)
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(\+\+)?", entry.name):
        yield Verdict(entry.plugin, subject, "advice", "names are lower case, with hyphens")
    yield Verdict(entry.plugin, subject, "ok", summary)


def check_import_speed(modules: dict[str, str]) -> Iterator[Verdict]:
    """Check that importing a plugin's module, which every command does, does not import torch.

    Arguments:
        modules: Maps the name of a plugin to its module.
    Yields:
        One verdict per plugin.
    """
    code = (
        "import sys; from importlib import import_module\n"
        "for name in sys.argv[1:]:\n    import_module(name)\n    if 'torch' in sys.modules: sys.exit(name)"
    )
    remaining = dict(modules)
    while remaining:  # one process imports modules up to the first that imports torch; the next one continues
        command = [sys.executable, "-c", code, *remaining.values()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        heavy = next((plugin for plugin in remaining if remaining[plugin] == done.stderr.strip()), None)
        for plugin in list(remaining):
            del remaining[plugin]
            if plugin == heavy:
                message = "importing it imports torch, which slows every command: return 'module:Name' from its hooks"
                yield Verdict(plugin, "listing", "advice", message)
                break
            yield Verdict(plugin, "listing", "ok", "imports no torch")
