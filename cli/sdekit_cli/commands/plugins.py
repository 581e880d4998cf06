"""`sdekit plugins`."""

import inspect
import re
from typing import Annotated, Any

import typer

from sdekit.errors import InputError
from sdekit.registry import (
    KINDS,
    Entry,
    find_component,
    kind_name,
    load_plugins,
    option_meanings,
    option_name,
    parameters,
    type_name,
    unknown_name,
)
from sdekit_cli.options.component_kinds import PURPOSES, registry_kind
from sdekit_cli.options.shared_options import AsJson, PluginFiles, load_plugin_files
from sdekit_cli.options.suggesting_command import SuggestingCommand
from sdekit_cli.scaffold.new_plugin import new
from sdekit_cli.scaffold.plugin_checks import check
from sdekit_cli.terminal.console import marked, print_json, show_table, shown

SAMPLER_TRAITS = (
    *("order", "stochastic", "calls_per_step", "requires_single_sample", "requires_finite_rho"),
    *("default_steps", "default_grid"),
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, describe, create and check components: processes, samplers, grids, networks, data sets, ...",
)
app.command(cls=SuggestingCommand)(new)
app.command(cls=SuggestingCommand)(check)


@app.command("list", cls=SuggestingCommand)
def list_(
    of_kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="Only this kind, such as sampler, samplers or processes.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help=f"Only this kind: {', '.join(map(kind_name, KINDS))}.")] = None,
    plugin: PluginFiles = None,
    json: AsJson = False,
) -> None:
    """List every installed component and the package that provides it.

    Example:

      sdekit plugins list samplers
    """
    from rich.markup import escape
    from rich.table import Table

    load_plugin_files(plugin, quiet=json)
    if of_kind and kind:
        raise InputError(f"give {of_kind} or --kind {kind}, not both")
    kind = registry_kind(of_kind or kind)
    entries = sorted(load_plugins().entries.values(), key=lambda entry: (list(KINDS).index(entry.kind), entry.name))
    rows = [_row(entry) for entry in entries if kind in (None, entry.kind)]
    if json:
        print_json({"components": rows, "problems": list(load_plugins().problems)})
        return
    for one in KINDS:
        if members := [row for row in rows if row["kind"] == one]:
            purpose, use = PURPOSES[one]
            shown.print(marked("[bold]{}[/]  {} Use: {}", kind_name(one), purpose, use))
            table = Table("kind", "name", "description", "package", box=None, header_style="bold")
            table.columns[0].no_wrap = table.columns[1].no_wrap = True
            for row in members:
                package = f"{row['package']} {row['version']}"
                table.add_row(*map(escape, (kind_name(one), row["name"], row["summary"], package)))
            show_table(table)
            shown.print()


@app.command(cls=SuggestingCommand)
def show(
    name: Annotated[str, typer.Argument(help="Name of a component.")],
    kind: Annotated[str | None, typer.Option(help="Its kind, if components of several kinds have this name.")] = None,
    plugin: PluginFiles = None,
    json: AsJson = False,
) -> None:
    """Describe one component: its documentation, its traits, and its options with type, default and meaning.

    Example:

      sdekit plugins show ode
    """
    load_plugin_files(plugin, quiet=json)
    kind = registry_kind(kind)
    entries = [find_component(k, n) for k, n in load_plugins().entries if n == name.lower() and kind in (None, k)]
    if not entries:
        names = sorted({n for k, n in load_plugins().entries if kind in (None, k)})
        raise InputError(unknown_name(kind_name(kind or "component"), name, names, "Installed"))
    descriptions = [_describe(entry) for entry in entries]
    if json:
        print_json({"components": descriptions})
        return
    for fields in descriptions:
        _print(fields)


def _print(fields: dict[str, Any]) -> None:
    """Print the description of a component. The table of options replaces the docstring's section `Arguments:`."""
    from rich.markup import escape
    from rich.table import Table

    title = (fields[key] for key in ("name", "kind", "package", "version", "source"))
    shown.print(marked("[bold]{}[/]  {} of {} {} ({})\n", *title))
    doc = re.sub(r"^Arguments:\n(?:[ \t].*\n?|\n)*", "", fields["doc"], flags=re.MULTILINE)
    shown.print(doc.strip() + "\n", markup=False)
    for trait in SAMPLER_TRAITS:
        if trait in fields:
            shown.print(f"  {trait.replace('_', ' ')}: {fields[trait]}", markup=False)
    if not fields["options"]:
        shown.print("  no options")
        return
    table = Table("option", "type", "default", "meaning", box=None, header_style="bold")
    for option in fields["options"]:
        table.add_row(*map(escape, (option["name"], option["type"], repr(option["default"]), option["meaning"])))
    table.columns[0].no_wrap = True
    show_table(table)


def _row(entry: Entry) -> dict[str, str]:
    from sdekit_cli.completion.component_sources import component_summary

    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": component_summary(entry),
        "plugin": entry.plugin,
        "package": entry.package,
        "version": entry.version,
    }


def _describe(entry: Entry) -> dict[str, Any]:
    target = entry.load()
    meanings = option_meanings(target)
    fields: dict[str, Any] = _row(entry) | {
        "doc": inspect.getdoc(target) or "",
        "source": f"{target.__module__}:{target.__qualname__}",
        "options": [
            {
                "name": option_name(name),
                "type": type_name(p.annotation),
                "default": p.default,
                "meaning": meanings.get(name, ""),
            }
            for name, p in parameters(target).items()
        ],
    }
    if entry.kind == "sampler":
        sampler = target()
        fields |= {trait: getattr(sampler, trait) for trait in SAMPLER_TRAITS}
    return fields
