"""The help of a command: usage, description, examples, and its options in groups, without cutting off any text.

Typer's own page imports a Markdown parser, which takes longer than everything else in a call of `--help`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from rich.panel import Panel
from rich.text import Text

from .console import shown

NAMES_WIDTH = 26
"""Width of the column of names. The description of a longer name starts on the next line."""
NARROWEST_PAGE = 60
WIDEST_PAGE = 120
EXAMPLE = re.compile(r"^\s*sdekit ", re.MULTILINE)


def print_help(usage: str, text: str, groups: Mapping[str, Iterable[tuple[str, str]]]) -> None:
    """Print the help of a command on stdout.

    Arguments:
        usage: Usage line.
        text: Description in paragraphs. A paragraph that starts with "sdekit" is an example, and is not wrapped.
        groups: Maps the title of each group to the names and the descriptions of its options.
    """
    width = min(max(shown.width, NARROWEST_PAGE), WIDEST_PAGE)
    shown.print(Text.assemble(("Usage:", "bold"), f" {usage}\n"), soft_wrap=True)
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if EXAMPLE.match(paragraph):
            shown.print(Text(f"   {' '.join(paragraph.split())}".ljust(width), "cyan"), soft_wrap=True)
        else:
            wrapped = _wrap(paragraph, width)
            heading = wrapped[0] in ("Example:", "Examples:")
            shown.print(Text("\n".join(wrapped), "bold" if heading else ""), soft_wrap=True)
            if not heading:
                shown.print()
    if EXAMPLE.search(text):
        shown.print()
    for title, rows in groups.items():
        body = Text("\n").join(line for name, description in rows for line in _row(name, description, width - 4))
        if body:
            shown.print(Panel(body, title=Text(title), title_align="left", border_style="dim", width=width), crop=False)


def print_list(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print a title, and names with their descriptions in two columns, on stdout.

    Arguments:
        title: Title.
        rows: Names and descriptions.
    """
    rows = list(rows)
    longest = max(len(name) for name, _ in rows)
    shown.print(f"\n[bold]{title}[/]")
    for name, description in rows:
        first, *others = _wrap(description, max(shown.width, NARROWEST_PAGE) - longest - 5) or [""]
        shown.print(Text.assemble("  ", (name.ljust(longest + 3), "cyan"), first), soft_wrap=True)
        for line in others:
            shown.print(" " * (longest + 5) + line, soft_wrap=True)


def _row(name: str, description: str, width: int) -> Iterator[Text]:
    """Yield the lines of one option: its name in the left column, and its description in the right one."""
    lines = _wrap(description, width - NAMES_WIDTH - 1)
    if len(name) > NAMES_WIDTH:
        for part in _wrap(name, width):
            yield _styled_name(part)
    else:
        yield Text.assemble(_styled_name(name.ljust(NAMES_WIDTH + 1)), _styled(lines.pop(0) if lines else ""))
    for line in lines:
        yield Text.assemble(" " * (NAMES_WIDTH + 1), _styled(line))


def _styled_name(name: str) -> Text:
    """Highlight the flags of a name such as "-n, --number INTEGER"."""
    text = Text(name)
    text.highlight_regex(r"(?<![\w-])--?[a-z][\w-]*", "bold cyan")
    return text


def _styled(line: str) -> Text:
    """Dim the default of an option, and highlight that it is required."""
    text = Text(line)
    text.highlight_regex(r"\[default: [^]]*\]?", "dim")
    text.highlight_regex(r"\[required\]", "red")
    return text


def _wrap(text: str, width: int) -> list[str]:
    """Wrap text between words. A word that is longer than the line stays whole."""
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)
