"""`name=value` to typed options: the keyword-only parameters of a component say what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from keyword import iskeyword
from pathlib import Path
from typing import Any

from sdekit.errors import InputError
from sdekit.registry import find_component, parameters, unknown_name

from .type_names import plainly


class Text(str):
    """A value as it stands on the command line. What it means, the type of its option decides: see `typed`."""

    @property
    def value(self) -> Any:
        """Read as a TOML value: a number, true, a list, a string in quotes; else the text itself."""
        import tomllib

        try:
            return tomllib.loads(f"value = {self}")["value"]
        except ValueError:  # no TOML; or a number of thousands of digits, which Python does not read
            return str(self)


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """["eta=0.5", "method=rk4"] to {"eta": "0.5", "method": "rk4"}, each a `Text`."""
    parsed: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise InputError(f"option {assignment!r}: write name=value")
        name = name.replace("-", "_")
        name += "_" if iskeyword(name) else ""  # `from` cannot be a parameter, `from_` can
        if name in parsed:
            raise InputError(f"option {option_name(name)!r} is given twice, {parsed[name]!r} and {text!r}: choose one")
        parsed[name] = Text(text)
    return parsed


def merged(options: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Options, and those that have a flag of their own; InputError for one that is given as both."""
    for name in options.keys() & flags.keys():
        flag = f"--{name.partition('.')[2].replace('_', '-')}"
        raise InputError(f"{flag} {flags[name]} and --option {name}={options[name]} are both given: choose one")
    return {**options, **flags}


def option_name(parameter: str) -> str:
    """A parameter as people write it: `from_` is `from`."""
    return parameter.removesuffix("_")


def named(text: str) -> tuple[str, dict[str, Any]]:
    """ "cfg:scale=3,labels=[1, 2]" to ("cfg", {"scale": "3", "labels": "[1, 2]"}): a component and its options."""
    name, colon, rest = text.partition(":")
    if not name or (colon and not rest):
        raise InputError(f"{text!r}: write NAME or NAME:option=value,option=value")
    return name, parse(_split(rest)) if rest else {}


def _split(text: str) -> list[str]:
    """At commas outside of brackets and quotes."""
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


def typed(what: str, target: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` checked against the target's options and converted; InputError names the option and what it takes."""
    known = parameters(target)
    checked = {}
    for name, value in given.items():
        if name not in known:
            names = sorted(map(option_name, known))
            raise InputError(unknown_name(f"option of {what} named", option_name(name), names, "It has"))
        try:
            checked[name] = _converted(value, known[name].annotation)
        except ValueError as error:
            raise InputError(
                f"option {option_name(name)} of {what}: {error}, got {getattr(value, 'value', value)!r} "
                f"(it takes {plainly(known[name].annotation)}, by default {known[name].default!r})"
            ) from None
    return checked


def _converted(value: Any, annotation: Any) -> Any:
    """A value of that type; ValueError says what it should be. 123 is a name too where no number is asked for."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(annotation)
    try:
        return adapter.validate_python(value.value if isinstance(value, Text) else value)
    except ValidationError as error:
        if isinstance(value, Text):
            with suppress(ValidationError):
                return adapter.validate_python(str(value), strict=True)
        raise ValueError(error.errors()[0]["msg"].lower()) from None


def component(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Typed options of a registered component."""
    return typed(f"{kind} {name!r}", find_component(kind, name).load(), given)


def with_data_std(kind: str, name: str, given: Mapping[str, Any], data_std: float) -> dict[str, Any]:
    """`given`, and the run's data_std where the component has that option and nothing is said of it.

    Not where its default is None: there to be told means something else.
    """
    known = parameters(find_component(kind, name).load()).get("data_std")
    return dict(given) if known is None or known.default is None else {"data_std": data_std, **given}


def grouped(given: Mapping[str, Any], groups: Iterable[str]) -> dict[str, dict[str, Any]]:
    """{"sde.beta_max": 10} to {"sde": {"beta_max": 10}}."""
    result: dict[str, dict[str, Any]] = {group: {} for group in groups}
    for name, value in given.items():
        group, dot, option = name.partition(".")
        if not dot:
            raise InputError(f"option {name!r}: say whose it is, one of {', '.join(f'{g}.{name}' for g in groups)}")
        if group not in result:
            raise InputError(unknown_name("group of options", group, sorted(result), "Groups"))
        result[group][option] = value
    return result


def read_config(path: Path, keys: Iterable[str], groups: Iterable[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """A TOML run file: names at the top (`sde = "vp"`), options in tables (`[option.sde]`)."""
    import tomllib

    from sdekit.runs import TrainOptions

    try:
        fields = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"--config {path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"--config {path}: {error}") from error
    tables = fields.pop("option", {})
    for name, value in fields.items():
        if name in groups and isinstance(value, dict):
            raise InputError(f"--config {path}: [{name}]: options of {name} stand in a table [option.{name}]")
        if name not in keys:
            if "train" in groups and name in parameters(TrainOptions):
                raise InputError(
                    f"--config {path}: {name} is an option of train: write [option.train] {name} = {value!r}"
                )
            raise InputError(f"--config {path}: {unknown_name('key', name, [*keys, 'option'], 'Keys')}")
        if not isinstance(value, str):
            raise InputError(f"--config {path}: {name} takes a name in quotes, got {value!r}")
    if not isinstance(tables, dict):
        raise InputError(f"--config {path}: write options in tables, such as [option.train], got option = {tables!r}")
    for group, table in tables.items():
        if group in groups and not isinstance(table, dict):
            raise InputError(f"--config {path}: option.{group} = {table!r} must be a table: write [option.{group}]")
        if group not in groups:
            raise InputError(f"--config {path}: {unknown_name('table option.', str(group), list(groups), 'Tables')}")
    return fields, {f"{group}.{name}": value for group, table in tables.items() for name, value in table.items()}
