"""Progress of long commands on stderr: a bar on a terminal, and a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .console import console, is_quiet, note

if TYPE_CHECKING:
    from rich.progress import Progress

FIRST_LINE = 2.0
"""Seconds before the first line about a work that has parts of any length."""


def on_terminal() -> bool:
    """Return whether stderr is a terminal that can move its cursor, so that a bar can be drawn on it.

    FORCE_COLOR asks for colours in a file or pipe, and does not make it such a terminal.
    """
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal


def progress_bar(*columns: str, quiet: bool = False) -> Progress:
    """Create a display of progress on stderr.

    Arguments:
        columns: Names of task fields to show instead of "done/total".
        quiet: Whether to show nothing.
    Returns:
        A bar with description, the columns, elapsed and remaining time. If stderr is no terminal, the display prints
        these as a line every few seconds.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    if quiet or is_quiet():
        return Progress(disable=True)
    if not on_terminal():
        from .progress_lines import ProgressLines

        return ProgressLines(*columns)
    fields: list[ProgressColumn] = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in columns]
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(fields or [MofNCompleteColumn()]),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


@contextmanager
def working(text: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Context manager that shows on stderr what a command is doing.

    On a terminal it is a spinner. Elsewhere it is a line for each change after the first few seconds.

    Arguments:
        text: Description of the work.
        quiet: Whether to show nothing.
    Yields:
        Function that changes the description.
    """
    if quiet or is_quiet():
        yield lambda text: None
    elif on_terminal():
        with console.status(text) as status:
            yield status.update
    else:
        began = time.monotonic()

        def show(text: str) -> None:
            if (seconds := time.monotonic() - began) > FIRST_LINE:
                note("{}  {:.0f} s", text, seconds)

        yield show
