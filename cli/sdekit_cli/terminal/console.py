"""Output to the terminal: messages and progress on stderr, results and JSON on stdout."""

from __future__ import annotations

import json
import math
import shlex
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rich.table import Table

console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)

shown = Console(soft_wrap=False, highlight=False, emoji=False)

_state = {"quiet": False}

NARROWEST = 40
"""Smallest width of a table in columns. A narrower terminal wraps its lines."""


def note(text: str, *values: object) -> None:
    """Print a line for people on stderr.

    Arguments:
        text: Line with rich markup and a {} for each value.
        values: Numbers and texts, printed without markup.
    """
    if not is_quiet():
        console.print(marked(text, *values))


def set_quiet(quiet: bool) -> None:
    """Choose whether `note` and the progress of commands print nothing; errors and results are printed always."""
    _state["quiet"] = quiet


def is_quiet() -> bool:
    """Return whether only results and errors are printed."""
    return _state["quiet"]


def marked(text: str, *values: object) -> str:
    """Fill the {} of a text with rich markup: numbers by its formats, everything else with markup escaped."""
    return text.format(*(value if isinstance(value, int | float) else escape(str(value)) for value in values))


def quoted(path: object) -> str:
    """Quote a path for the shell, for commands that a message suggests."""
    return shlex.quote(str(path))


def show_table(table: Table) -> None:
    """Print a table on stdout without cutting off any text."""
    shown.width = max(shown.width, NARROWEST)
    for column in table.columns:
        column.overflow = "fold"
    shown.print(table, crop=False)


@contextmanager
def warnings_as_notes(*categories: type[Warning]) -> Iterator[None]:
    """Context manager that prints warnings of some categories as notes, without the line of code that raised them.

    Arguments:
        categories: The categories. Other warnings are shown as usual.
    """
    original = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *arguments: Any, **options: Any) -> None:
        if issubclass(category, categories):
            note("[yellow]warning:[/] {}", message)
        else:
            original(message, category, *arguments, **options)

    with warnings.catch_warnings():
        for category in categories:
            warnings.simplefilter("always", category)
        warnings.showwarning = show
        yield


def error(text: str) -> None:
    """Print the error message of a command on stderr."""
    console.print(f"[bold red]error:[/] {escape(text)}")


def print_json(fields: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    print(json.dumps(json_values(fields), allow_nan=False))


def json_values(value: Any) -> Any:
    """Replace the numbers that JSON cannot represent, at any depth, by the texts "inf", "-inf" and "nan"."""
    if isinstance(value, Mapping):
        return {name: json_values(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
