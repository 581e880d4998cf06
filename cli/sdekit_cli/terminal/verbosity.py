"""The options -q and -v of every command."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Annotated, Any

import typer

import sdekit

from .console import note, set_quiet

PACKAGES = ("torch", "numpy", "torchdiffeq", "diffusers", "transformers")
"""Packages whose versions --verbose prints, if they are installed."""

_state = {"verbose": False}


def choose(*, quiet: bool, verbose: bool) -> None:
    """Start a command: print results and errors only, or more than usual.

    Arguments:
        quiet: Whether to print no notes and no progress.
        verbose: Whether to print versions, chosen values and timings, and a traceback after a failure.
    """
    set_quiet(quiet and not verbose)
    _state["verbose"] = verbose


def is_verbose() -> bool:
    """Return whether --verbose was given."""
    return _state["verbose"]


def _set_quiet(value: bool) -> bool:
    """Set --quiet after the name of a command; without it, the option before the name stays in force."""
    if value:
        choose(quiet=True, verbose=False)
    return value


def _set_verbose(value: bool) -> bool:
    """Set --verbose after the name of a command; without it, the option before the name stays in force."""
    if value:
        choose(quiet=False, verbose=True)
    return value


Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", callback=_set_quiet, is_eager=True, help="Print results and errors only."),
]
Verbose = Annotated[
    bool,
    typer.Option(
        *("-v", "--verbose"),
        callback=_set_verbose,
        is_eager=True,
        help="Also print versions, chosen values and timings, and a traceback after a failure.",
    ),
]


@cache
def verbosity_parameters() -> list[Any]:
    """Return the options -q and -v as parameters that a command does not receive."""
    group = typer.Typer(add_completion=False)

    @group.command()
    def command(quiet: Quiet = False, verbose: Verbose = False) -> None:
        pass

    parameters = typer.main.get_command(group).params
    for parameter in parameters:
        parameter.expose_value = False
    return parameters


def note_start(command: str, values: dict[str, Any]) -> None:
    """Print the versions, and the value of every option, if --verbose was given.

    Arguments:
        command: Name of the command.
        values: Values of its options.
    """
    if not is_verbose():
        return
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    note("sdekit {} with {} on {}", sdekit.__version__, ", ".join(versions), platform.platform())
    chosen = "  ".join(f"{name}={value!r}" for name, value in values.items() if value not in (None, False, []))
    note("{}: {}", command, chosen)


def note_end(began: float) -> None:
    """Print how long a command took, if --verbose was given.

    Arguments:
        began: Value of `time.perf_counter()` at its start.
    """
    if is_verbose():
        used = os.times()
        seconds, processor = time.perf_counter() - began, used.user + used.system
        note("took {:.2f} s ({:.2f} s of processor time)", seconds, processor)
