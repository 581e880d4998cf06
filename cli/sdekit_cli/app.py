"""The `sdekit` command: its sub-commands, and how errors are told."""

import sys
from collections.abc import Sequence

import typer

import sdekit
from sdekit.errors import SdekitError

from .console import error, note
from .root import Root

app = typer.Typer(
    name="sdekit",
    cls=Root,
    help="Train score networks and sample them with any solver.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"sdekit {sdekit.__version__}")
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show it.")) -> None:
    pass


def _assemble() -> None:
    """Add the commands of plugins to sdekit's own (root.py)."""
    from sdekit.plugins import registry

    for problem in registry().problems:
        note(f"[yellow]warning:[/] {problem}")
    registry().manager.hook.sdekit_commands(app=app)


_assemble()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0 done, 1 failed, 2 wrong usage or input."""
    try:
        app(args=None if arguments is None else list(arguments))
    except SdekitError as problem:
        error(str(problem))
        sys.exit(problem.exit_code)
