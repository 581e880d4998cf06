"""The `sdekit` command: its subcommands, their list in `--help`, and one message for every failure.

A subcommand is imported when it is used, and plugins are loaded for the list of commands, an unknown command or the run
of one. The list is printed here, because Typer would import a Markdown parser and all subcommands for it, which takes
0.1 s each.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import Any

import typer

import sdekit
from sdekit.errors import InputError, SdekitError

from .completion.scripts import SCRIPTS, completion_script, install_completion
from .completion.values import Completion
from .options.suggesting_command import SuggestingCommand, unknown_command
from .terminal.command import Group, readable
from .terminal.console import error, note, shown
from .terminal.streams import standard_streams
from .terminal.verbosity import Quiet, Verbose, choose, is_verbose

COMMANDS = {
    "train": "Train a score network on data.",
    "train-classifier": "Train a classifier of noisy data, for guidance of a run that was trained without labels.",
    "sample": "Draw samples from a trained run with any solver.",
    "restore": "Draw samples that agree with a measurement (inpainting, ...) or with known cells of a table.",
    "edit": "Add noise to an image and denoise it again (SDEdit): variations of it, or a sketch made realistic.",
    "evaluate": "Compare samples of a model with real data: metrics with intervals and floors, memorization, pictures.",
    "nll": "Compute the negative log-likelihood of data, with standard errors, by the probability-flow ODE.",
    "bound": (
        "Bound the negative log-likelihood of data from above, by DDPM's divergences or their limit in continuous time."
    ),
    "encode": "Map data to latents by the probability flow, and report the error of mapping them back.",
    "decode": "Map latents to data by the probability flow, the inverse of `sdekit encode`.",
    "interpolate": "Interpolate between two seeds or two images on the sphere of latents, as a strip and an animation.",
    "classify": "Classify data by the likelihoods of a class-conditional model (Bayes' rule).",
    "ood": "Measure how well a model separates data from other data (out-of-distribution detection).",
    "report": "Write a report of a model as one HTML file: data, training, samples, evaluation, settings.",
    "export": "Export a model to a folder, with a model card.",
    "info": "Describe a saved model, and check that its files are complete and unaltered.",
    "verify": "Check components against exact answers: order, marginals, noise, network calls, inverses, and more.",
    "bench": (
        "Compare samplers on one model by their error of x_0 for a number of network evaluations, and recommend one."
    ),
    "tune": "Fit a solver's time steps and coefficients to one model, for a number of network evaluations.",
    "plugins": "List, describe, create and check components: processes, samplers, grids, networks, data sets, ...",
}
"""Maps each command to the first line of its help. The file of that name contains the function, or a Typer `app`."""

EXAMPLES = (
    ("sdekit train --data digits --out run --time-limit 120", "train on digits"),
    ("sdekit sample run --out samples", "draw 64 samples"),
    ("sdekit plugins list", "list the installed components"),
    ("sdekit COMMAND --help", "show the options of a command"),
)

DISTRIBUTED = (
    *("train", "train-classifier", "sample", "restore", "edit", "evaluate"),
    *("nll", "bound", "encode", "decode", "classify", "ood"),
)
"""Commands that several processes may run together."""

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""Texts of a RuntimeError that libraries raise instead of a MemoryError."""

OUTPUT_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""Errors of a standard output that is full, closed or disconnected."""


COMPLETE = "_SDEKIT_COMPLETE"
"""Environment variable by which a shell asks for completions."""

SHELL = "sdekit.shell"
"""Key of the shell that the user named, in the context of click."""


class Root(Group):
    """The group of all commands; the commands of sdekit keep their names if a plugin adds one of the same name."""

    def __init__(self, **settings: Any) -> None:
        if COMPLETE in os.environ:
            from .completion.shells import prepare_completion

            prepare_completion()
        super().__init__(**settings)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return a command; None if there is no command of this name."""
        return load_command(cmd_name) if cmd_name in COMMANDS else plugin_commands().get(cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, those of plugins first."""
        return list(descriptions())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. A shell may follow --install-completion and --show-completion."""
        for option in ("--install-completion", "--show-completion"):
            if option in args and not ctx.resilient_parsing:
                place = args.index(option) + 1
                if args[place : place + 1] and not args[place].startswith("-"):
                    ctx.meta[SHELL] = args[place]
                    args = [*args[:place], *args[place + 1 :]]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Propose the names of commands, without importing them, or the options before a command."""
        names = [Completion(name, text) for name, text in sorted(descriptions().items()) if name.startswith(incomplete)]
        return [*names, *(super().shell_complete(ctx, incomplete) if incomplete.startswith("-") else [])]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command of the arguments. Raises InputError with the remedy if there is no such command."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise InputError(unknown_command(args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, examples, commands and options."""
        from .terminal.help_page import print_list

        options = [readable(*record) for param in self.get_params(ctx) if (record := param.get_help_record(ctx))]
        shown.print(f"[bold]Usage:[/] {ctx.command_path} COMMAND ...\n\n{self.help}")
        print_list("Examples", EXAMPLES)
        print_list("Commands", descriptions().items())
        print_list("Options", options)


@cache
def plugin_commands() -> dict[str, Any]:
    """Load the plugins, once, and warn of those that cannot be used; the others keep working.

    Returns:
        Maps the names of the commands that plugins add to click commands.
    """
    from sdekit.registry import load_plugins

    problems, manager = list(load_plugins().problems), load_plugins().manager
    plugins = {hook.plugin for hook in manager.hook.sdekit_commands.get_hookimpls()}
    commands: dict[str, Any] = {}
    for plugin in sorted(plugins, key=lambda plugin: str(manager.get_name(plugin))):
        own = typer.Typer(add_completion=False)
        try:
            manager.subset_hook_caller("sdekit_commands", plugins - {plugin})(app=own)
            commands |= typer.main.get_group(own).commands  # raises now if Typer does not support a type
        except (Exception, SystemExit) as failure:
            reason = f"{type(failure).__name__}: {failure}"
            problems.append(f"the commands of plugin {manager.get_name(plugin)!r} are left out: {reason}")
    for problem in problems:
        note("[yellow]warning:[/] {}", problem)
    return commands


def descriptions() -> dict[str, str]:
    """Return the first line of the help of every command, those of plugins first."""
    plugins = plugin_commands() if _has_plugins() else {}
    added = {name: command for name, command in plugins.items() if not command.hidden}
    return {name: command.get_short_help_str(500) for name, command in added.items()} | COMMANDS


def _has_plugins() -> bool:
    """Return whether other packages have plugins. Loading those of sdekit takes 0.02 s, and adds no commands."""
    from importlib.metadata import entry_points

    from sdekit.registry import BUILT_IN, GROUP

    return any(point.name not in BUILT_IN for point in entry_points(group=GROUP))


class OwnCommand(SuggestingCommand):
    """A command of sdekit, which warns of faulty plugins before it runs."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        plugin_commands()
        return super().invoke(ctx)


def load_command(name: str) -> Any:
    """Import a command of `COMMANDS`.

    Arguments:
        name: Name of the command.
    Returns:
        The click command.
    """
    module = import_module(f"sdekit_cli.commands.{name.replace('-', '_')}")
    group = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False)
        group.command(name)(getattr(module, name.replace("-", "_")))
    for info in group.registered_commands:
        info.cls = OwnCommand
    group.info.cls = Group
    command = typer.main.get_command(group)
    command.name = name
    return command


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


def _show_completion(ctx: typer.Context, requested: bool) -> None:
    if requested:
        print(completion_script(ctx.meta.get(SHELL)), end="")
        raise typer.Exit


def _install_completion(ctx: typer.Context, requested: bool) -> None:
    if requested:
        shell, file = install_completion(ctx.meta.get(SHELL))
        print(f"installed the completion of {shell} in {file}: open a new shell to use it")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
    quiet: Quiet = False,
    verbose: Verbose = False,
    install: bool = typer.Option(
        False,
        "--install-completion",
        metavar="[SHELL]",
        callback=_install_completion,
        help=f"Install completion for a shell: {', '.join(SCRIPTS)} (default: the current one).",
    ),
    show: bool = typer.Option(
        False,
        "--show-completion",
        metavar="[SHELL]",
        callback=_show_completion,
        help="Print the completion script of a shell, to install it elsewhere.",
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: with code 0 if all went well, 1 after a failure, 2 for wrong usage or input.

    If torchrun started several processes, only the first one prints, and all of them exit with the same code.

    Arguments:
        arguments: Arguments of the command, those of the process by default.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    run = _run_with_others if "WORLD_SIZE" in os.environ else _run
    choose(quiet=False, verbose=False)
    with standard_streams():
        try:
            run(arguments)
        except SdekitError as failure:
            if is_verbose():
                traceback.print_exc()
            error(str(failure))
            sys.exit(failure.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)


def _run(arguments: Sequence[str]) -> None:
    with report_failures():
        app(args=arguments, prog_name="sdekit")


def _run_with_others(arguments: Sequence[str]) -> None:
    """Run a command in one of several processes. Raises InputError for a command that does not divide its work."""
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
    """Context manager that turns a lack of memory and errors of files into `SdekitError`, and flushes stdout."""
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
        reason = failure.strerror or str(failure)
        if failure.filename is None and failure.errno in OUTPUT_FAILED:
            _discard_output()
            raise SdekitError(f"could not write the output: {reason}") from failure
        kind = InputError if failure.errno == errno.ENAMETOOLONG else SdekitError
        raise kind(reason if failure.filename is None else f"{failure.filename}: {reason}") from failure


def _discard_output() -> None:
    """Send the rest of stdout to the null device, because Python would fail on it at exit."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
