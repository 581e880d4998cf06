"""The types of options, as people read them."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

PLAINLY = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def type_name(annotation: Any) -> str:
    """A type as it is written in Python; without functions, which nobody can give on the command line."""
    return " | ".join(map(_written, _without(annotation, Callable)))


def plainly(annotation: Any) -> str:
    """What an option of this type takes, in words; None and functions, which cannot be written, are left out."""
    return " or ".join(map(_said, _without(annotation, Callable, NoneType)))


def _without(annotation: Any, *left_out: Any) -> list[Any]:
    """The alternatives of a type but those; the type itself where none is left."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [part for part in parts if (get_origin(part) or part) not in left_out] or [annotation]


def _written(annotation: Any) -> str:
    if annotation is NoneType:
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _said(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (tuple, list):
        return "a list in brackets"
    return PLAINLY.get(annotation, _written(annotation))
