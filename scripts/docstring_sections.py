"""Extension of griffe that recognizes the sections of docstrings without blank lines between them."""

import re
from typing import Any

import griffe

SECTION = re.compile(r"(?<!\n)\n(Attributes|Returns|Yields|Raises|Source):\n")
"""Title of a section that follows a line of text; the parser of Google's style requires a blank line before it."""


class DocstringSections(griffe.Extension):
    """Insert a blank line before each section."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = SECTION.sub(r"\n\n\1:\n", obj.docstring.value)
