"""`--plugin FILE`: a plugin for this command alone."""

from pathlib import Path
from typing import Annotated

import typer

from sdekit_cli.terminal.console import note

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Also use the plugin in this Python file; repeat it."),
]
"""The option, for the signature of a command."""


def load_plugin_files(files: list[Path] | None, *, quiet: bool = False) -> None:
    """Load each file, and say which; InputError where one cannot be loaded."""
    from sdekit.registry import load_plugin_file, load_plugins

    for file in files or ():
        load_plugin_file(file)
        provided = [f"{e.kind} {e.name}" for e in load_plugins().entries.values() if e.package == str(file.absolute())]
        if not quiet:
            note("local plugin [bold]{}[/]: {}", file, ", ".join(provided) or "it provides nothing")
