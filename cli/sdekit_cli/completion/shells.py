"""Output of completions for shells, without the rendering of Typer, which imports a Markdown parser."""

from __future__ import annotations

import re
from typing import Any

from typer import completion

LONGEST = 120
"""Number of characters of a description that is shown."""


def one_line(text: str | None) -> str:
    """Return the first sentence of a description, at most `LONGEST` characters, in one line."""
    words = " ".join((text or "").split())
    sentence = re.split(r"(?<=[a-z)\]])\. (?=[A-Z])", words)[0]
    return sentence if len(sentence) <= LONGEST else sentence[: LONGEST - 3] + "..."


def _quoted(text: str) -> str:
    """Return a text without quotes and with escaped colons, as zsh's `_arguments` reads it."""
    return re.sub(r"[\"'`$]", "", text).replace(":", r"\\:")


def prepare_completion() -> None:
    """Make Typer answer requests for completions, with descriptions in one line each."""
    typer_completion: Any = completion
    typer_completion.completion_init()
    shell_completion = typer_completion.shell_completion
    fish: Any = shell_completion.get_completion_class("fish")
    zsh: Any = shell_completion.get_completion_class("zsh")

    class Fish(fish):  # type: ignore[misc]
        def format_completion(self, item: Any) -> str:
            text = one_line(item.help)
            return f"{item.value}\t{text}" if text else str(item.value)

    class Zsh(zsh):  # type: ignore[misc]
        def format_completion(self, item: Any) -> str:
            value, text = _quoted(item.value), _quoted(one_line(item.help))
            return f'"{value}":"{text}"' if text else f'"{value}"'

    shell_completion.add_completion_class(Fish, "fish")
    shell_completion.add_completion_class(Zsh, "zsh")
