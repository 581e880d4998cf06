"""`sdekit plugins`."""

import ast
import inspect
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from sdekit.errors import InputError
from sdekit.registry import KINDS, Entry, find_component as entry_of, load_plugins, parameters, unknown_name
from sdekit_cli.options.assignments import option_name
from sdekit_cli.options.component_kinds import kind_of
from sdekit_cli.options.option_help import meanings
from sdekit_cli.options.plugin_option import PluginFiles, load_plugin_files
from sdekit_cli.options.type_names import type_name
from sdekit_cli.scaffold import plugin_commands as develop
from sdekit_cli.terminal.console import marked, print_json, show_table, shown

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="What is installed: processes, samplers, grids, networks, data sets, ...",
)
app.command()(develop.new)
app.command()(develop.check)


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(help=f"Only this kind: {', '.join(KINDS)}.")] = None,
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List every installed component and the package that provides it.

    Example:

      sdekit plugins list --kind sampler
    """
    load_plugin_files(plugin, quiet=json)
    kind = kind_of(kind)
    found = sorted(load_plugins().entries.values(), key=lambda e: (list(KINDS).index(e.kind), e.name))
    rows = [_row(entry) for entry in found if kind in (None, entry.kind)]
    if json:
        print_json({"components": rows, "problems": list(load_plugins().problems)})
        return
    table = Table("kind", "name", "what it is", "package", box=None, header_style="bold")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for row in rows:
        table.add_row(*map(escape, (row["kind"], row["name"], row["summary"], f"{row['package']} {row['version']}")))
    show_table(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a component.")],
    kind: Annotated[str | None, typer.Option(help="Its kind, where two kinds share the name.")] = None,
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one component: what it does, its options with type, default and meaning, its source.

    Example:

      sdekit plugins show ode
    """
    load_plugin_files(plugin, quiet=json)
    kind = kind_of(kind)
    found = [entry_of(k, n) for k, n in load_plugins().entries if n == name and kind in (None, k)]
    if not found:
        names = sorted({n for k, n in load_plugins().entries if kind in (None, k)})
        raise InputError(unknown_name(kind or "component", name, names, "Installed"))
    described = [_described(entry) for entry in found]
    if json:
        print_json({"components": described})
        return
    for fields in described:
        shown.print(
            marked(
                "[bold]{}[/]  {} of {} {} ({})", *(fields[k] for k in ("name", "kind", "package", "version", "source"))
            )
        )
        shown.print(fields["doc"] + "\n", markup=False)
        for attribute in ("order", "stochastic", "calls_per_step", "default_steps", "default_grid"):
            if attribute in fields:
                shown.print(f"  {attribute.replace('_', ' ')}: {fields[attribute]}", markup=False)
        table = Table("option", "type", "default", "meaning", box=None, header_style="bold")
        for option in fields["options"]:
            table.add_row(*map(escape, (option["name"], option["type"], repr(option["default"]), option["meaning"])))
        if fields["options"]:
            table.columns[0].no_wrap = True
            show_table(table)
        else:
            shown.print("  no options")


def _row(entry: Entry) -> dict[str, str]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": _summary(entry),
        "plugin": entry.plugin,
        "package": entry.package,
        "version": entry.version,
    }


def _summary(entry: Entry) -> str:
    """First line of the docstring, read from the source where importing it would import torch."""
    if not isinstance(entry.target, str):
        return (inspect.getdoc(entry.target) or "").partition("\n")[0]
    module, _, path = entry.target.partition(":")
    source = _source(module)
    node: Any = ast.parse(source.read_text()) if source else None
    for part in path.split("."):
        children = getattr(node, "body", [])
        node = next((child for child in children if getattr(child, "name", None) == part), None)
    doc = ast.get_docstring(node) if node is not None else None
    return (doc or "").partition("\n")[0]


def _source(module: str) -> Path | None:
    """The file of a module, found without importing it or its parents."""
    path = None
    for i in range(len(parts := module.split("."))):
        spec = PathFinder.find_spec(".".join(parts[: i + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return Path(spec.origin) if spec and spec.origin else None


def _described(entry: Entry) -> dict[str, Any]:
    target = entry.load()
    doc = inspect.getdoc(target) or ""
    told = meanings(doc, (option_name(name) for name in parameters(target)))
    fields: dict[str, Any] = _row(entry) | {
        "doc": doc,
        "source": f"{target.__module__}:{target.__qualname__}",
        "options": [
            {"name": (name := option_name(p.name)), "type": type_name(p.annotation), "default": p.default}
            | {"meaning": told[name]}
            for p in parameters(target).values()
        ],
    }
    if entry.kind == "sampler":
        built = target()
        for name in ("order", "stochastic", "calls_per_step", "default_steps", "default_grid"):
            fields[name] = getattr(built, name)
    return fields
