"""The `sdekit` command: its subcommands, the commands of plugins, and one message for every failure."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import typer

import sdekit
from sdekit.errors import InputError, SdekitError

from .terminal.console import error, note
from .terminal.help import Root

DISTRIBUTED = ("train", "train-classifier", "sample", "restore", "edit")
"""Commands that several processes may run together."""

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""Texts of a RuntimeError that libraries raise instead of a MemoryError."""

OUTPUT_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

app = typer.Typer(
    name="sdekit",
    cls=Root,
    help="Train score networks and sample them with any solver.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"sdekit {sdekit.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def _add_plugin_commands() -> None:
    """Add the commands of plugins, and warn of plugins that cannot be used; the others keep working."""
    from sdekit.registry import load_plugins

    problems, manager = list(load_plugins().problems), load_plugins().manager
    plugins = {hook.plugin for hook in manager.hook.sdekit_commands.get_hookimpls()}
    for plugin in sorted(plugins, key=lambda plugin: str(manager.get_name(plugin))):
        before = len(app.registered_commands), len(app.registered_groups)
        try:
            manager.subset_hook_caller("sdekit_commands", plugins - {plugin})(app=app)
            for info in app.registered_commands[before[0] :]:  # raises now if Typer does not support a type
                typer.main.get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode="rich")
        except (Exception, SystemExit) as failure:
            del app.registered_commands[before[0] :], app.registered_groups[before[1] :]
            reason = f"{type(failure).__name__}: {failure}"
            problems.append(f"the commands of plugin {manager.get_name(plugin)!r} are left out: {reason}")
    for problem in problems:
        note("[yellow]warning:[/] {}", problem)


_add_plugin_commands()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: with code 0 if all went well, 1 after a failure, 2 for wrong usage or input.

    If torchrun started several processes, only the first one prints, and all of them exit with the same code.

    Arguments:
        arguments: Arguments of the command, those of the process by default.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    run = _run_with_others if "WORLD_SIZE" in os.environ else _run
    try:
        run(arguments)
    except SdekitError as failure:
        error(str(failure))
        sys.exit(failure.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(arguments: Sequence[str]) -> None:
    with report_failures():
        app(args=arguments)


def _run_with_others(arguments: Sequence[str]) -> None:
    """Run a command in one of several processes; InputError for a command that does not divide its work."""
    from sdekit.distributed import leave, together, world

    if world().rank:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (open until the process ends)
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        with together():
            if world().size > 1 and name is not None and name not in DISTRIBUTED:
                raise InputError(
                    f"sdekit {name} runs in one process, and torchrun started {world().size}: start it without "
                    f"torchrun ({', '.join(DISTRIBUTED)} can share the work)"
                )
            _run(arguments)
    finally:
        leave()


@contextmanager
def report_failures() -> Iterator[None]:
    """Context manager that turns a lack of memory and errors of stdout into `SdekitError`, and flushes stdout."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (MemoryError, RuntimeError) as failure:
        text = str(failure)
        if not isinstance(failure, MemoryError) and not any(phrase in text.lower() for phrase in OUT_OF_MEMORY):
            raise
        size = re.search(r"allocate (\d+) bytes|allocate ([\d.]+ \w+)", text)
        amount = "" if size is None else f" for {int(size[1]) / 1e9:.3g} GB" if size[1] else f" for {size[2]}"
        raise SdekitError(
            f"there is not enough memory{amount}: ask for fewer samples or steps, a smaller --batch-size, or a smaller "
            "network"
        ) from failure
    except BrokenPipeError:
        _discard_output()
        raise SystemExit(1) from None  # as in `sdekit ... | head -1`: not an error to report
    except OSError as failure:
        if failure.filename is not None or failure.errno not in OUTPUT_FAILED:
            raise
        _discard_output()
        raise SdekitError(f"could not write the output: {failure.strerror}") from failure


def _discard_output() -> None:
    """Send the rest of stdout to the null device, because Python would fail on it at exit."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
