"""`--guidance NAME[:option=value,...]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .assignments import component, named, option_name

if TYPE_CHECKING:
    from sdekit.guidance import Guidance


def parse_guidance(texts: Sequence[str]) -> tuple[list[Guidance], list[dict[str, Any]]]:
    """The guidances asked for, in the order given, and the record of each: name and all options.

    Raises InputError for an unknown name or option, with a suggestion, and a value of another type.
    """
    from sdekit.registry import build, complete_options

    made, record = [], []
    for text in texts:
        name, given = named(text)
        typed = component("guidance", name, given)
        made.append(build("guidance", name, **typed))
        complete = complete_options("guidance", name, typed)
        record.append({"name": name, "options": {option_name(k): v for k, v in complete.items()}})
    return made, record
