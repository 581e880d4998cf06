"""Options that several commands share, as the fields of a dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any


def with_options(
    command: Callable[..., None] | None = None, *, changes: Mapping[str, Mapping[str, Any] | None] | None = None
) -> Callable[..., Any]:
    """Decorator that replaces each parameter whose type is a dataclass by one option for each field of the dataclass.

    Arguments:
        command: Function of the command. It receives an object of the dataclass with the values of the options.
        changes: Maps fields whose options differ in this command to the changed `annotation` or `default`, or to None
            if the command does not have the option.
    Returns:
        The function that Typer calls.
    """
    if command is None:
        return partial(with_options, changes=changes)
    changes = changes or {}
    own = inspect.signature(command, eval_str=True).parameters
    groups: dict[str, Any] = {name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)}
    parameters: list[inspect.Parameter] = []
    fields: dict[str, list[str]] = {}
    for name, parameter in own.items():
        if name not in groups:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        options = inspect.signature(groups[name], eval_str=True).parameters
        fields[name] = [field for field in options if changes.get(field, {}) is not None]
        parameters += [options[field].replace(**(changes.get(field) or {})) for field in fields[name]]

    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field: values.pop(field) for field in fields[name]})
        command(**values)

    run.__doc__, run.__signature__ = command.__doc__, inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run
