"""Progress and messages go to stderr; what a command was asked to show goes to stdout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from .plain import plain

if TYPE_CHECKING:
    from rich.progress import Progress

console = Console(stderr=True, soft_wrap=True, highlight=False)

shown = Console(soft_wrap=False, highlight=False)


def note(text: str) -> None:
    """A line for people, in rich's markup."""
    console.print(text)


def error(text: str) -> None:
    """The one message of a failure."""
    console.print(f"[bold red]error:[/] {escape(text)}")


def print_json(fields: Mapping[str, Any]) -> None:
    """One JSON object on stdout; numbers that are not finite as text."""
    print(json.dumps(plain(fields), allow_nan=False))


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
        TextColumn("{task.description}"),
        BarColumn(),
        *([MofNCompleteColumn()] if not columns else [TextColumn(f"{{task.fields[{name}]}}") for name in columns]),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet,
        transient=True,
    )
