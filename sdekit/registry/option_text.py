"""Options written as `name=value` and `NAME:option=value,...`: parsing, conversion to the option's type, type names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from keyword import iskeyword
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from sdekit.errors import InputError

from .component_parameters import parameters
from .discovery import find_component
from .foreign_options import unknown_option
from .kinds import kind_name

NEXT_OPTION = re.compile(r"\s*[A-Za-z_][\w.-]*=")
"""Start of an option: its name and =."""

TYPE_DESCRIPTIONS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


class OptionText(str):
    """A value as written on the command line. The type of the option decides how it is read, see `convert_options`."""

    @property
    def value(self) -> Any:
        """The text read as a TOML value: a number, true, a list, a quoted string; otherwise the text itself."""
        import tomllib

        try:
            return tomllib.loads(f"value = {self}")["value"]
        except ValueError:  # not TOML, or a number with more digits than Python reads
            return str(self)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Parse assignments: ["eta=0.5", "method=rk4"] gives {"eta": "0.5", "method": "rk4"}.

    Arguments:
        assignments: Texts of the form name=value.
    Returns:
        Maps names to values, each an `OptionText`.
    Raises:
        InputError: If a text has another form, or a name occurs twice.
    """
    parsed: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise InputError(f"option {assignment!r}: write name=value")
        name = name.replace("-", "_")
        name += "_" if iskeyword(name) else ""  # `from` cannot be a parameter, `from_` can
        if name in parsed:
            raise InputError(f"option {option_name(name)!r} is given twice, {parsed[name]!r} and {text!r}: choose one")
        parsed[name] = OptionText(text)
    return parsed


def parse_component(text: str, kind: str | None = None) -> tuple[str, dict[str, Any]]:
    """Parse a component with options: "cfg:scale=3,labels=1,2" gives ("cfg", {"scale": "3", "labels": "1,2"}).

    A comma starts the next option if a name and = follow; all other commas belong to the value.

    Arguments:
        text: NAME or NAME:option=value,option=value.
        kind: Kind of the component. The message about a value without a name then names the option.
    Returns:
        Name in lower case, as components are registered, and options as `parse_assignments` returns them.
    Raises:
        InputError: If the text has another form.
    """
    name, colon, rest = text.partition(":")
    if not name or (colon and not rest):
        raise InputError(f"{text!r}: write NAME or NAME:option=value,option=value")
    parts = _split_at_options(rest) if rest else []
    if kind is not None and parts and "=" not in parts[0]:
        known = [option_name(option) for option in parameters(find_component(kind, name).load())]
        advice = f"write {name.lower()}:{known[0]}={parts[0]}" if known else f"{name.lower()} has no options"
        raise InputError(f"{text!r}: {advice}" + (f" (its options: {', '.join(known)})" if len(known) > 1 else ""))
    return name.lower(), parse_assignments(parts)


def _split_at_options(text: str) -> list[str]:
    """Split at the commas outside of brackets and quotes that end an option."""
    parts: list[str] = []
    for part in _split_at_commas(text):
        if parts and "=" in parts[-1] and part and not NEXT_OPTION.match(part):
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def _split_at_commas(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in "[{(") - (letter in ")}]") if not quote else 0
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def option_name(parameter: str) -> str:
    """Return the name of an option on the command line: the parameter `from_` is the option `from`.

    Arguments:
        parameter: Name of a parameter in Python.
    Returns:
        The name without a final underscore.
    """
    return parameter.removesuffix("_")


def convert_options(subject: str, target: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the values of options to their types.

    Arguments:
        subject: Component or command that has these options, for messages.
        target: Class or function whose keyword-only parameters are the valid options.
        options: Maps names to values, each an `OptionText` or a value from a file.
    Returns:
        Maps names to values of the options' types.
    Raises:
        InputError: If there is no such option, or its value has another type.
    """
    known = parameters(target)
    converted = {}
    for name, value in options.items():
        if name not in known:
            raise InputError(unknown_option(subject, name, list(known)))
        try:
            converted[name] = _convert(value, known[name].annotation)
        except ValueError as error:
            raise InputError(
                f"option {option_name(name)} of {subject}: {error}, got {getattr(value, 'value', value)!r} "
                f"(it takes {describe_type(known[name].annotation)}, by default {known[name].default!r})"
            ) from None
    return converted


def _convert(value: Any, annotation: Any) -> Any:
    """Convert a value to a type. Raises ValueError with the reason if this fails. 123 is also a valid string."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(annotation)
    try:
        return adapter.validate_python(value.value if isinstance(value, OptionText) else value)
    except ValidationError as error:
        if isinstance(value, OptionText):
            with suppress(ValidationError):
                return adapter.validate_python(str(value), strict=True)
            if "," in value or value.strip()[:1] in ("(", "["):
                with suppress(ValidationError):
                    return adapter.validate_python(_list_items(value))
        raise ValueError(error.errors()[0]["msg"].lower()) from None


def _list_items(text: str) -> Any:
    """Return the items of a list that is written as 1,2 or (1, 2) or [a, b]."""
    inner = text.strip()
    if inner[:1] + inner[-1:] in ("()", "[]"):
        inner = inner[1:-1].strip()
    return [OptionText(item.strip()).value for item in _split_at_commas(inner.removesuffix(","))] if inner else []


def component_options(kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the options of a registered component, see `convert_options`.

    Arguments:
        kind: Kind of the component.
        name: Registered name.
        options: Maps names to values, each an `OptionText` or a value from a file.
    Returns:
        Maps names to values of the options' types.
    """
    return convert_options(f"{kind_name(kind)} {name!r}", find_component(kind, name).load(), options)


def type_name(annotation: Any) -> str:
    """Return a type as it is written in Python, without functions, which cannot be given on the command line.

    Arguments:
        annotation: The type.
    Returns:
        For example "float | None".
    """
    return " | ".join(map(_python_name, _alternatives(annotation, Callable)))


def describe_type(annotation: Any) -> str:
    """Describe in words which values an option of this type takes on the command line.

    Arguments:
        annotation: The type.
    Returns:
        For example "a number".
    """
    return " or ".join(map(_description, _alternatives(annotation, Callable, NoneType)))


def _alternatives(annotation: Any, *excluded: Any) -> list[Any]:
    """Return the alternatives of a union except the excluded ones, or the type itself if no other one exists."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return [part for part in parts if (get_origin(part) or part) not in excluded] or [annotation]


def _python_name(annotation: Any) -> str:
    if annotation is NoneType:
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _description(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (tuple, list):
        return "a list such as 1,2,2"
    return TYPE_DESCRIPTIONS.get(annotation, _python_name(annotation))
