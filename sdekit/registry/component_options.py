"""Options of a component: the keyword-only parameters of its class or factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, get_type_hints

FROZEN = ": decorate it with @dataclass(frozen=True, kw_only=True)"


def unknown_name(what: str, name: str, known: list[str], label: str) -> str:
    """ "no sampler 'ddmi'; did you mean 'ddim'? Installed: ..." """
    close = sorted(get_close_matches(name, known), key=lambda other: sorted(other) != sorted(name))  # swaps first
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"no {what} {name!r}{hint} {label}: {', '.join(known) or 'none'}"


@cache  # a quarter of a millisecond, and `build` asks twice
def parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The options of a component: its keyword-only parameters, annotations resolved where each was written."""
    hints = get_type_hints(target, include_extras=True) if is_dataclass(target) else {}  # of its bases' modules too
    found = inspect.signature(target, eval_str=not hints).parameters.values()
    return {p.name: p.replace(annotation=hints.get(p.name, p.annotation)) for p in found if p.kind is p.KEYWORD_ONLY}


def configuration_fault(kind: str, target: Callable[..., Any]) -> str | None:
    """What keeps a component from being configured, or None: no frozen dataclass, an option without type or default."""
    if kind in ("sampler", "sde") and isinstance(target, type):
        made = vars(target).get("__dataclass_params__")
        if made is None or not made.frozen:
            what = "no dataclass" if made is None else "a dataclass, but not frozen"
            return f"{target.__name__} is {what}{FROZEN}"
    for option, p in parameters(target).items():
        if p.default is p.empty:
            return f"its option {option!r} has no default: give it one"
        if p.annotation is p.empty:
            return f"its option {option!r} has no type: annotate it"
    return None
