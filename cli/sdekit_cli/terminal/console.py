"""Progress and messages go to stderr; what a command was asked to show goes to stdout."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from .json_values import json_values

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)

shown = Console(soft_wrap=False, highlight=False, emoji=False)

NARROWEST = 40
"""Columns that a table is laid out for in narrower terminals too, which then break its lines."""


def note(text: str, *values: object) -> None:
    """A line for people, in rich's markup; `values` fill its {} and are shown letter by letter."""
    console.print(marked(text, *values))


def marked(text: str, *values: object) -> str:
    """Markup with its {} filled: numbers as its formats say, all else without a meaning to rich."""
    return text.format(*(value if isinstance(value, int | float) else escape(str(value)) for value in values))


def quoted(path: object) -> str:
    """A path as a shell takes it, for commands that people are told to give."""
    return shlex.quote(str(path))


def show_table(table: Table) -> None:
    """Print a table on stdout; nothing in it is cut short."""
    shown.width = max(shown.width, NARROWEST)
    for column in table.columns:
        column.overflow = "fold"
    shown.print(table, crop=False)


def error(text: str) -> None:
    """The one message of a failure."""
    console.print(f"[bold red]error:[/] {escape(text)}")


def print_json(fields: Mapping[str, Any]) -> None:
    """One JSON object on stdout; numbers that are not finite as text."""
    print(json.dumps(json_values(fields), allow_nan=False))


def progress_bar(*columns: str, quiet: bool = False) -> Progress:
    """A bar on stderr: description, bar, the fields named in `columns`, elapsed and remaining time."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(
            [MofNCompleteColumn()]
            if not columns
            else [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in columns]
        ),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet,
        transient=True,
    )
