"""The `sdekit` command: its sub-commands, and how errors are told."""

import os
import sys
from collections.abc import Sequence

import typer

import sdekit
from sdekit.distributed import leave, together, world
from sdekit.errors import InputError, SdekitError
from sdekit_cli.terminal.console import error, note
from sdekit_cli.terminal.failures import report_failures
from sdekit_cli.terminal.help import Root

SHARED = ("sample", "restore", "edit")
"""Commands that several processes may do together."""

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
    """Add the commands of plugins to sdekit's own (root.py); what is wrong with one is told, and the others work."""
    from sdekit.registry import load_plugins

    problems, manager = list(load_plugins().problems), load_plugins().manager
    plugins = {one.plugin for one in manager.hook.sdekit_commands.get_hookimpls()}
    for plugin in sorted(plugins, key=lambda one: str(manager.get_name(one))):
        before = len(app.registered_commands), len(app.registered_groups)
        try:
            manager.subset_hook_caller("sdekit_commands", plugins - {plugin})(app=app)
            for info in app.registered_commands[before[0] :]:  # or a type that Typer does not know would end all
                typer.main.get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode="rich")
        except (Exception, SystemExit) as error:
            del app.registered_commands[before[0] :], app.registered_groups[before[1] :]
            why = f"{type(error).__name__}: {error}"
            problems.append(f"the commands of plugin {manager.get_name(plugin)!r} are left out: {why}")
    for problem in problems:
        note("[yellow]warning:[/] {}", problem)


_assemble()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0 done, 1 failed, 2 wrong usage or input.

    Of several processes (torchrun) the first one speaks, and all end alike.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if world().rank:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (to the end)
    try:
        with together(), report_failures():
            _check_shared(given)
            app(args=given)
    except SdekitError as problem:
        error(str(problem))
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        leave()


def _check_shared(arguments: Sequence[str]) -> None:
    """InputError for a command that several processes would each do in full, writing the same files."""
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    if world().size > 1 and name is not None and name not in SHARED:
        raise InputError(
            f"sdekit {name} runs in one process, and torchrun started {world().size}: start it without torchrun "
            f"({', '.join(SHARED)} can share the work)"
        )
