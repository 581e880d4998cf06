"""Options of a component: the keyword-only parameters of its class or factory, and what its docstring says of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, get_type_hints

FROZEN = ": decorate it with @dataclass(frozen=True, kw_only=True)"

ARGUMENTS = re.compile(r"^Arguments:\n((?:[ \t].*\n?|\n)*)", re.MULTILINE)
"""The section `Arguments:` of a docstring."""
ENTRY = re.compile(r"^ {4}(\w[\w, ]*):((?:.*\n?)(?: {5,}.*\n?)*)", re.MULTILINE)
"""An entry in a section of a docstring: names, a colon, and text with a larger indent on its further lines."""


def unknown_name(subject: str, name: str, known: Sequence[str], label: str) -> str:
    """Write the message for an unknown name: "no sampler 'ddmi'; did you mean 'ddim'? Installed: ddim, ddpm, ...".

    Arguments:
        subject: Noun for the thing that was looked up.
        name: The unknown name.
        known: All valid names.
        label: Text before the list of valid names.
    Returns:
        The message.
    """
    close = sorted(get_close_matches(name, known), key=lambda other: sorted(other) != sorted(name))  # swaps first
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"no {subject} {name!r}{hint} {label}: {', '.join(known) or 'none'}"


@cache  # takes a quarter of a millisecond, and `build` needs it twice
def parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the options of a component.

    Arguments:
        target: Class or factory of the component.
    Returns:
        Maps the name of each keyword-only parameter to the parameter, with its annotation as a type.
    """
    # A dataclass inherits fields whose annotations are names of another module: get_type_hints finds these.
    hints = get_type_hints(target, include_extras=True) if is_dataclass(target) else {}
    signature = inspect.signature(target, eval_str=not hints)
    return {
        name: p.replace(annotation=hints.get(name, p.annotation))
        for name, p in signature.parameters.items()
        if p.kind is p.KEYWORD_ONLY
    }


def argument_entries(doc: str) -> dict[str, str]:
    """Return the entries of the section `Arguments:` of a docstring.

    Arguments:
        doc: Docstring without indentation.
    Returns:
        Maps names to descriptions in one line. An entry "a, b: text" describes both names.
    """
    section = ARGUMENTS.search(doc)
    entries = ENTRY.findall(section[1]) if section else ()
    return {name.strip(): " ".join(text.split()) for names, text in entries for name in names.split(",")}


def option_meanings(target: Callable[..., Any]) -> dict[str, str]:
    """Return what the `Arguments:` section of a component's docstring says about each option.

    Arguments:
        target: Class or factory of the component. The entries of base classes count too.
    Returns:
        Maps the name of an option to its description in one line; options without an entry are missing.
    """
    entries: dict[str, str] = {}
    for owner in reversed(getattr(target, "__mro__", (target,))):
        doc = vars(owner).get("__doc__") if isinstance(owner, type) else owner.__doc__
        entries |= argument_entries(inspect.cleandoc(doc or ""))
    return {name: entries[name] for name in parameters(target) if name in entries}


def configuration_fault(kind: str, target: Callable[..., Any]) -> str | None:
    """Return the reason why a component cannot be configured, or None.

    Samplers and processes must be frozen dataclasses; every option needs a type and a default.
    """
    if kind in ("sampler", "sde") and isinstance(target, type):
        decorated = vars(target).get("__dataclass_params__")
        if decorated is None or not decorated.frozen:
            state = "no dataclass" if decorated is None else "a dataclass, but not frozen"
            return f"{target.__name__} is {state}{FROZEN}"
    for option, p in parameters(target).items():
        if p.default is p.empty:
            return f"its option {option!r} has no default: give it one"
        if p.annotation is p.empty:
            return f"its option {option!r} has no type: annotate it"
    return None
